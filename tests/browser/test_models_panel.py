"""A model is fetched from a server that answers like Hugging Face, watched and used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import App
from tests.conftest import write_tiny_checkpoint
from tests.hub import serving

pytestmark = pytest.mark.browser


def test_a_model_is_asked_for_watched_cancelled_fetched_and_loaded(
    start_app: Callable[..., App],
    open_page: Callable[..., Page],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    models, shared = tmp_path / "models", tmp_path / "hub"
    write_tiny_checkpoint(models / "first")
    write_tiny_checkpoint(shared / "someone" / "second", seed=2)
    with serving(shared) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        app = start_app("--models-dir", str(models))
        page = open_page(of=app, width=390, height=844)
        expect(page.locator("#get-model-id")).to_be_hidden()
        page.locator("#open-get-model").click()
        box, said = page.locator("#get-model-id textarea, #get-model-id input"), "#get-model-state"
        box.fill("../outside")
        page.locator("#get-model-start").click()
        expect(page.locator("#get-model-id .field-message")).to_contain_text("no id of Hugging")
        box.fill("someone/nothing")
        page.locator("#get-model-start").click()
        expect(page.locator(said)).to_contain_text("no model someone/nothing")
        expect(page.locator("#get-model-id .field-message")).to_have_count(0)

        hub.stalls_at["unet/diffusion_pytorch_model.safetensors"] = 1000
        box.fill("someone/second")
        page.locator("#get-model-start").click()
        expect(page.locator(said)).to_contain_text("are here")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, "the page is wider than the phone"
        page.locator("#get-model-cancel").click()
        expect(page.locator(said)).to_contain_text("was cancelled")
        assert not (models / "second").exists()
        page.locator("#get-model-start").click()
        expect(page.locator(said)).to_contain_text("second is in the models folder")
        page.locator("#get-model-load").click()
        expect(page.locator("#model input")).to_have_value("second")
        expect(page.locator("#model-state")).to_contain_text("hash", timeout=90_000)


def test_a_vae_is_chosen_beside_the_model_and_shown_in_every_tab(
    start_app: Callable[..., App], open_page: Callable[..., Page], tmp_path: Path
):
    models = tmp_path / "models"
    folder = write_tiny_checkpoint(models / "first")
    (models / "vae").mkdir()
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    (models / "vae" / "soft.safetensors").write_bytes(weights.read_bytes())
    app = start_app("--models-dir", str(models))
    page, other = open_page(of=app), open_page(of=app, width=390, height=844)
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    expect(page.locator("#vae input")).to_have_value("Automatic")
    page.locator("#vae input").click()
    page.get_by_role("option", name="soft.safetensors").click()
    for tab in (page, other):
        expect(tab.locator("#vae input")).to_have_value("soft.safetensors", timeout=90_000)
        expect(tab.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    width = other.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, "the page is wider than the phone"
