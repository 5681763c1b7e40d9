"""The X/Y/Z plot on the page: axes are filled in, errors stand at them, the grid comes."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from playwright.sync_api import Page, expect

from tests.browser.conftest import App
from webui.generation.metadata.infotext import read_infotext
from webui.generation.outputs import read_parameters
from webui.generation.plots.axes import AXES
from webui.images import open_picture

pytestmark = pytest.mark.browser


def choose(page: Page, letter: str, kind: str) -> None:
    box = page.locator(f"#{letter}-type input")
    box.fill(kind)
    box.press("Enter")
    expect(page.locator(f"#{letter}-values")).to_contain_text(AXES[kind].hint)


def test_an_embedding_is_plotted_against_its_strength(app: App, open_page: Callable[..., Page]):
    path = app.embeddings / "xyz_mood.pt"
    torch.save({"string_to_param": {"*": torch.randn(2, 128) * 0.04}}, path)
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.locator("#prompt textarea").fill("a plotted heart, {embedding}")
    page.locator("#steps input[type=number]").fill("2")
    page.locator("#xyz").get_by_text("X/Y/Z plot").click()
    choose(page, "x", "Embedding")
    page.locator("#x-fill").click()
    expect(page.locator("#x-values textarea")).to_have_value(re.compile("none.*xyz_mood"))
    page.locator("#x-values textarea").fill("none, xyz_mood")
    choose(page, "y", "Embedding strength")

    page.locator("#draw-plot").click()
    values = page.locator("#y-values textarea")
    expect(values).to_have_accessible_description(re.compile("Enter values"))
    expect(values).to_have_attribute("aria-invalid", "true")
    expect(values).to_be_focused()
    expect(page.locator(".toast-body")).to_have_count(0)
    page.locator("#x-values textarea").fill("no-such-embedding")
    values.fill("0.5, high")
    expect(values).not_to_have_attribute("aria-invalid", "true")
    page.locator("#draw-plot").click()
    expect(page.locator("#x-values .field-message")).to_contain_text("no-such-embedding")
    expect(page.locator("#y-values .field-message")).to_contain_text("“high” is neither")

    page.locator("#x-values textarea").fill("none, xyz_mood")
    values.fill("0.5, 1.5")
    page.locator("#draw-plot").click()
    expect(page.locator("#progress")).to_contain_text("Done: 4 saved", timeout=600_000)
    expect(page.locator("#gallery img")).not_to_have_count(0)
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("Script: X/Y/Z plot"))
    (grid,) = (app.outputs / "grids").rglob("*.png")
    request, pairs = read_infotext(read_parameters(grid))
    assert pairs["Y Values"] == "0.5, 1.5"
    assert request.prompt == "a plotted heart"
    pictures = sorted((app.outputs / "txt2img").rglob("*.png"))
    prompts = [read_infotext(read_parameters(picture))[0].prompt for picture in pictures]
    cells = [prompt for prompt in prompts if "plotted" in prompt]
    assert cells[1::2] == ["a plotted heart, (xyz_mood:0.5)", "a plotted heart, (xyz_mood:1.5)"]
    path.unlink()


def start_plot(page: Page, axis: str, values: str, **numbers: int) -> None:
    """Start a plot of one axis with the starter model and numbers in fields by element id."""
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    expect(page.locator("#width input[type=number]")).to_have_value("256")
    page.locator("#prompt textarea").fill("a red heart")
    for field, number in numbers.items():
        box = page.locator(f"#{field.replace('_', '-')} input[type=number]")
        box.fill(str(number))
        box.press("Enter")
    page.locator("#xyz").get_by_text("X/Y/Z plot").click()
    choose(page, "x", axis)
    page.locator("#x-values textarea").fill(values)
    page.locator("#draw-plot").click()
    expect(page.locator("#progress")).to_contain_text("Step")


def test_a_plot_goes_on_without_its_page_and_shows_itself_when_it_is_opened_again(
    app: App, open_page: Callable[..., Page]
):
    grids = set((app.outputs / "grids").rglob("*.png"))
    first = open_page()
    start_plot(first, "CFG Scale", "2, 4", steps=140, batch_count=2)
    second = first.context.new_page()
    first.close()
    second.goto(app.url)
    expect(second.locator("#progress")).to_contain_text("of 560")
    expect(second.locator("#interrupt")).to_be_enabled()
    second.reload()
    expect(second.locator("#progress")).to_contain_text("Done: 4 saved", timeout=600_000)
    expect(second.locator("#progress")).to_contain_text("the grid in outputs/grids")
    expect(second.locator("#infotext textarea")).to_have_value(re.compile("Script: X/Y/Z plot"))
    (grid,) = set((app.outputs / "grids").rglob("*.png")) - grids
    assert open_picture(grid).width == 2 * (2 * 256) + 4
    second.reload()
    expect(second.locator("#infotext textarea")).to_have_value(re.compile("Script: X/Y/Z plot"))


def test_a_plot_that_is_followed_can_be_interrupted_and_is_not_repeated_forever(
    app: App, open_page: Callable[..., Page]
):
    page = open_page()
    page.locator("#forever input").check()
    start_plot(page, "Seed", "1-30", steps=60)
    page.reload()
    expect(page.locator("#forever input")).to_be_checked()
    expect(page.locator("#progress")).to_contain_text("of 1800")
    page.locator("#interrupt").click()
    expect(page.locator("#progress")).to_contain_text("Interrupted")
    expect(page.locator("#interrupt")).to_be_disabled()
    page.wait_for_timeout(2000)
    expect(page.locator("#progress")).to_contain_text("Interrupted")


def ready(open_page: Callable[..., Page], prompt: str) -> Page:
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#steps input[type=number]").fill("2")
    return page


def test_a_prompt_matrix_is_drawn_and_an_image_of_it_saved(
    app: App, open_page: Callable[..., Page]
):
    page = ready(open_page, "a barred heart | on a hill")
    page.locator("#prompt-matrix").get_by_text("Prompt matrix").click()
    page.locator("#draw-matrix").click()
    expect(page.locator("#progress")).to_contain_text("Done: 2 saved", timeout=600_000)
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("Script: Prompt matrix"))
    page.locator("#save-picture").click()
    expect(page.locator("#messages")).to_contain_text("noted in saved/log.csv")
    log = (app.outputs / "saved" / "log.csv").read_text(encoding="utf-8").splitlines()
    assert log[0].startswith("prompt,seed,width") and log[-1].startswith("a barred heart,")


def test_a_list_of_prompts_is_drawn_line_by_line(app: App, open_page: Callable[..., Page]):
    page = ready(open_page, "")
    page.locator("#prompt-list").get_by_text("Prompts from file or textbox").click()
    lines = page.locator("#prompt-lines textarea")
    lines.fill("a listed star\n--prompt a listed heart --steps none")
    page.locator("#draw-list").click()
    expect(page.locator("#prompt-lines .field-message")).to_contain_text("Line 2: Steps")
    lines.fill("a listed star\n--prompt a listed heart --steps 3")
    page.locator("#draw-list").click()
    expect(page.locator("#progress")).to_contain_text("Done: 2 saved", timeout=600_000)
    texts = [read_parameters(path) or "" for path in (app.outputs / "txt2img").rglob("*.png")]
    steps = sorted(read_infotext(text)[0].steps for text in texts if "a listed" in text)
    assert steps == [2, 3]


def test_a_pasted_vae_is_a_setting_that_can_be_taken_away(open_page: Callable[..., Page]):
    page = ready(open_page, "a heart\nSteps: 2, Sampler: Euler a, CFG scale: 4, Seed: 3, VAE: None")
    page.locator("#paste-parameters").click()
    chips = page.locator("#override-settings")
    expect(chips).to_contain_text("VAE: None")
    chips.locator(".token-remove").first.click()
    expect(chips).to_be_hidden()
