"""Checkpoints and LoRAs as cards under the prompts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import ROOT, App, apps

pytestmark = pytest.mark.browser

PROMPT = "#prompt textarea"


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app with two checkpoints, and LoRAs of which one has notes."""
    models = tmp_path_factory.mktemp("models")
    for name in ("starter", "painter"):
        shutil.copytree(ROOT / "models" / "starter", models / name)
    for name in ("ink", "styles/soft"):
        path = models / "lora" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not read for its card")
    (models / "lora" / "ink.json").write_text(json.dumps({"preferred weight": 0.7}))
    with apps(tmp_path_factory) as start:
        yield start("--models-dir", str(models))


@pytest.fixture
def page(stocked: App, open_page: Callable[..., Page]) -> Page:
    page = open_page(of=stocked)
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    return page


def card(page: Page, grid: str, name: str) -> Locator:
    return page.locator(f"#{grid} .card").filter(has=page.get_by_text(name, exact=True))


def test_a_click_on_a_lora_puts_its_call_in_and_a_second_one_takes_it_out(page: Page):
    page.get_by_role("tab", name="Lora", exact=True).click()
    prompt, ink = page.locator(PROMPT), card(page, "lora-cards", "ink")
    prompt.fill("a red heart")
    ink.click()
    expect(prompt).to_have_value("a red heart <lora:ink:0.7>")
    expect(ink).to_have_attribute("aria-pressed", "true")
    prompt.fill("a red <lora:INK:0.2> heart")
    ink.click()
    expect(prompt).to_have_value("a red heart")
    expect(ink).to_have_attribute("aria-pressed", "false")
    prompt.press("Control+z")
    expect(prompt).to_have_value("a red <lora:INK:0.2> heart")
    page.locator("#lora-cards .cards-search").fill("oil")
    expect(page.locator("#lora-cards .cards-empty")).to_contain_text("Clear the search")


def test_folders_narrow_the_loras_and_enter_is_a_click(page: Page):
    page.get_by_role("tab", name="Lora", exact=True).click()
    soft = card(page, "lora-cards", "soft")
    expect(soft).to_be_visible()
    page.locator("#lora-cards .cards-folders").get_by_role("button", name="styles 1").click()
    expect(page.locator("#lora-cards .card")).to_have_count(1)
    soft.focus()
    page.keyboard.press("Enter")
    expect(page.locator(PROMPT)).to_have_value("<lora:soft:1>")


def test_a_click_on_a_checkpoint_loads_it_and_marks_it(page: Page):
    page.get_by_role("tab", name="Checkpoints").click()
    starter, painter = (card(page, "checkpoint-cards", name) for name in ("starter", "painter"))
    expect(painter).to_have_attribute("aria-pressed", "true")
    starter.click()
    expect(starter).to_have_attribute("aria-pressed", "true")
    expect(painter).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#model input")).to_have_value("starter")
    painter.click()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
