"""What axe-core finds on the page, and what of it is in view without scrolling."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN = "axe.run({ resultTypes: ['violations'] })"
TABS = ("txt2img", "Embeddings", "Train", "PNG Info")


def found(page: Page) -> list[str]:
    """Return the serious and critical violations on the page as it stands."""
    page.wait_for_timeout(300)  # what has just appeared is mended a moment later
    violations = page.evaluate(RUN)["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_tab_has_a_serious_violation(open_page: Callable[..., Page], theme: str):
    page = open_page(f"?__theme={theme}", reduced_motion="reduce")
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.evaluate(AXE)
    for tab in TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        assert found(page) == [], tab
    page.get_by_role("tab", name="txt2img").click()
    page.locator("#open-get-model").click()
    page.locator("#edit-styles").click()
    for closed in page.locator("button.label-wrap:visible").all():
        closed.click()
    assert found(page) == [], "all open"
    page.locator("#prompt textarea").fill("a red circle")
    page.locator("#generate").click()
    expect(page.locator("#gallery img").first).to_be_visible(timeout=600_000)
    assert found(page) == [], "with an image"


def test_prompt_settings_and_image_are_in_view_and_a_new_image_leaves_the_caret(
    open_page: Callable[..., Page],
):
    page = open_page(width=1440, height=900)
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    for part in ("prompt", "generate", "steps", "width", "cfg-scale", "seed", "gallery"):
        box = page.locator(f"#{part}").bounding_box()
        assert box and box["y"] + box["height"] <= 900, part
    page.locator("#prompt textarea").fill("a red circle")
    page.locator("#prompt textarea").press("Control+Enter")
    expect(page.locator("#gallery img").first).to_be_visible(timeout=600_000)
    expect(page.locator("#interrupt")).to_be_disabled()
    expect(page.locator("#prompt textarea")).to_be_focused()
    assert page.evaluate("scrollY") == 0


def test_the_theme_that_was_chosen_is_kept(open_page: Callable[..., Page]):
    page = open_page()
    expect(page.locator("body:not(.dark)")).to_have_count(1)
    page.locator("#dark").click()
    expect(page.locator("body.dark")).to_have_count(1)
    page.reload()
    expect(page.locator("body.dark")).to_have_count(1)


def test_on_a_phone_generate_stays_and_the_image_comes_before_the_settings(
    open_page: Callable[..., Page],
):
    page = open_page(width=390, height=844)
    places = {}
    for part in ("prompt", "gallery", "steps"):
        box = page.locator(f"#{part}").bounding_box()
        assert box
        places[part] = box["y"]
    assert places["prompt"] < places["gallery"] < places["steps"]
    page.evaluate("scrollTo(0, 1000)")
    expect(page.locator("#generate")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
