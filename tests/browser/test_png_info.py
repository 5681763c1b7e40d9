"""The PNG Info tab: a picture's parameters are shown, compared with what is here, and sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect

from tests.browser.conftest import App
from webui.files import sha256

pytestmark = pytest.mark.browser

PROMPT, NEGATIVE = "#prompt textarea", "#negative-prompt textarea"
HOSTILE = "<img src=x onerror=document.body.dataset.x=1>"
SETTINGS = (
    "Steps: 7, Sampler: DPM++ 2M Karras, CFG scale: 5.5, Seed: 77, Size: 128x192, "
    "Model hash: 0123456789, Model: v1-5, Clip skip: 2, Lag: 31337"
)


def write_embedding(path: Path) -> str:
    """Write a small embedding and return the beginning of its file's hash."""
    torch.save({"string_to_param": {"*": torch.randn(2, 128) * 0.04}}, path)
    return sha256(path)[:12]


def drawn(path: Path, text: str) -> Path:
    info = PngInfo()
    info.add_itxt("parameters", text)
    Image.new("RGB", (16, 16), "teal").save(path, pnginfo=info)
    return path


def drop(page: Page, path: Path) -> None:
    page.locator("#png-info-picture input[type=file]").set_input_files(path)


def test_a_picture_is_read_compared_and_sent(
    app: App, open_page: Callable[..., Page], tmp_path: Path
):
    digest = write_embedding(app.embeddings / "png_mood.pt")
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.get_by_role("tab", name="PNG Info").click()
    text = (
        f"a {HOSTILE} heart, old_mood\nNegative prompt: png_mood\n{SETTINGS}, "
        f'TI hashes: "old_mood: {digest}, png_mood: 000000000000, gone: 111111111111"'
    )
    drop(page, drawn(tmp_path / "a.png", text))
    expect(page.locator("#png-info-text textarea")).to_have_value(text)
    found = page.locator("#png-info-found")
    expect(found.locator(".finding-renamed")).to_contain_text("under another name: “png_mood”")
    expect(found.locator(".finding-different")).to_contain_text("png_mood")
    expect(found.locator(".finding-missing")).to_contain_text(["v1-5", "gone"])
    expect(found).to_contain_text("Lag: 31337")
    expect(page.locator("#png-info-table")).to_contain_text(HOSTILE)
    assert page.evaluate("document.body.dataset.x") is None

    page.locator("#png-info-send").click()
    expect(page.locator("#generate")).to_be_visible()
    expect(page.locator(PROMPT)).to_have_value(f"a {HOSTILE} heart, png_mood")
    expect(page.locator(NEGATIVE)).to_have_value("png_mood")
    for field, value in (
        ("steps", "7"), ("cfg-scale", "5.5"), ("seed", "77"), ("width", "128"),
        ("height", "192"), ("sampler", "DPM++ 2M"), ("schedule-type", "Karras"),
    ):  # fmt: skip
        expect(page.locator(f"#{field} input").first).to_have_value(value)
    expect(page.locator("#messages")).to_contain_text("Lag: 31337")
    (app.embeddings / "png_mood.pt").unlink()


def test_what_is_no_picture_is_told_with_a_reason(open_page: Callable[..., Page], tmp_path: Path):
    page = open_page()
    page.get_by_role("tab", name="PNG Info").click()
    (tmp_path / "a.png").write_text("not an image")
    drop(page, tmp_path / "a.png")
    expect(page.locator("#png-info-notes")).to_contain_text("is not an image")
    expect(page.locator("#png-info-send")).to_be_disabled()


def test_parameters_sent_before_the_model_is_there_are_not_overwritten(
    start_app: Callable[..., App], chromium, tmp_path: Path
):
    app = start_app(folder=tmp_path)
    page = chromium.new_context().new_page()
    page.goto(app.url)
    # The usual values: they do not differ from what the page started with.
    usual = "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 5, Size: 512x512"
    page.locator(PROMPT).fill(f"a heart\nNegative prompt: a star\n{usual}")
    page.locator("#paste-parameters").click()
    expect(page.locator(PROMPT)).to_have_value("a heart")
    loading = "hash" not in page.locator("#model-state").inner_text()
    expect(page.locator(NEGATIVE)).to_have_value("a star")
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.wait_for_timeout(1500)  # the next answer of the timer
    if loading:
        expect(page.locator("#width input[type=number]")).to_have_value("512")
        expect(page.locator("#cfg-scale input[type=number]")).to_have_value("7")
    page.locator("#paste-parameters").click()
    expect(page.get_by_text("There is no parameters text in the prompt box")).to_be_visible()
    page.context.close()
