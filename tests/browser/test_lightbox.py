"""The gallery's images in full size: looked through, enlarged, compared, deleted by keys."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import App
from tests.browser.test_accessibility import AXE, found

pytestmark = pytest.mark.browser


def test_images_are_looked_through_compared_and_deleted_by_keys(
    app: App, open_page: Callable[..., Page]
):
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    expect(page.locator("#gallery-tools")).to_be_hidden()
    page.locator("#prompt textarea").fill("a red heart")
    for field, value in (("steps", "4"), ("batch-count", "3"), ("seed", "50")):
        page.locator(f"#{field} input[type=number]").fill(value)
    page.locator("#generate").click()
    expect(page.locator("#progress")).to_contain_text("of 3 · Step")
    expect(page.locator("#progress")).to_contain_text("Done: 3 saved", timeout=600_000)

    page.locator("#gallery .media-button").click()
    lightbox, title = page.locator("#lightbox"), page.locator(".lightbox-title")
    expect(title).to_have_text("1 of 3 · seed 50")
    page.keyboard.press("ArrowRight")
    expect(title).to_have_text("2 of 3 · seed 51")
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("Seed: 51,"))
    frame = page.locator(".lightbox-frame")
    fitting = frame.bounding_box()
    page.keyboard.press("+")
    larger = frame.bounding_box()
    assert fitting and larger and larger["width"] > 1.2 * fitting["width"]
    page.keyboard.press("0")

    page.keyboard.press("c")
    expect(lightbox.get_by_label("Compare with")).to_have_value("0")
    slider = lightbox.locator("input[type=range]")
    slider.press("End")
    assert "100%" in page.locator(".lightbox-back").evaluate("image => image.style.clipPath")
    page.keyboard.press("p")
    rendering = "image => getComputedStyle(image).imageRendering"
    assert page.locator(".lightbox-back").evaluate(rendering) == "pixelated"
    page.evaluate(AXE)
    assert found(page) == []
    page.keyboard.press("p")

    page.keyboard.press("Delete")
    expect(title).to_contain_text("2 of 2 · seed 52 · deleted one")
    page.keyboard.press("Control+z")
    expect(title).to_have_text("2 of 3 · seed 51")
    page.keyboard.press("Escape")
    expect(lightbox).to_be_hidden()
    page.locator("#reuse-its-seed").click()
    expect(page.locator("#seed input")).to_have_value("51")

    page.locator("#batch-count input[type=number]").fill("2")
    page.locator("#generate").click()
    expect(page.locator("#progress")).to_contain_text("Done: 2 saved", timeout=600_000)
    expect(page.locator("#gallery .caption")).to_have_text("1 of 2 · seed 51")
    page.locator("#compare-images").click()
    lightbox.get_by_label("Compare with").select_option("the image before")
    expect(page.locator(".lightbox-back")).to_have_attribute("alt", "Compared: the image before")
