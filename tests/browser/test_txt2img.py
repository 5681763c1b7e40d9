"""The txt2img tab under people's hands: what is remembered, steered, enlarged and thrown away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import torch
from playwright.sync_api import Page, expect

from tests.browser.conftest import App
from tests.parts import wait_until
from webui.generation.outputs import read_parameters
from webui.images import open_picture

pytestmark = pytest.mark.browser

PROMPT, PROGRESS = "#prompt textarea", "#progress"


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Iterator[Page]:
    """A page whose model is loaded and has set its controls."""
    page = open_page()
    ready(page)
    yield page
    if page.locator("#interrupt").is_enabled():
        page.locator("#interrupt").click()
        expect(page.locator("#interrupt")).to_be_disabled()


def ready(page: Page) -> None:
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    expect(page.locator("#width input[type=number]")).to_have_value("256")


def pictures(app: App) -> set[Path]:
    return set((app.outputs / "txt2img").rglob("*.png"))


def fill(page: Page, **values: object) -> None:
    """Type values into number fields by their element id."""
    for field, value in values.items():
        box = page.locator(f"#{field.replace('_', '-')} input[type=number]")
        box.fill(str(value))
        box.press("Enter")


def open_accordion(page: Page, elem_id: str) -> None:
    page.locator(f"#{elem_id} > button").click()


def draw(page: Page, app: App, prompt: str, **values: object) -> set[Path]:
    """Press Generate and return the new files once it is done."""
    before = pictures(app)
    page.locator(PROMPT).fill(prompt)
    fill(page, **values)
    page.locator("#generate").click()
    wait_for_pictures(page, app, before, 1)
    expect(page.locator("#interrupt")).to_be_disabled(timeout=600_000)
    expect(page.locator(PROGRESS)).to_contain_text("Done")
    return pictures(app) - before


def wait_for_pictures(page: Page, app: App, before: set[Path], count: int) -> None:
    """Return once there are as many new pictures; fail the test after three minutes."""
    end = time.monotonic() + 180
    while len(pictures(app) - before) < count:
        assert time.monotonic() < end
        page.wait_for_timeout(100)


def test_a_generation_goes_on_without_its_page_and_shows_itself_when_it_is_opened_again(
    app: App, open_page: Callable[..., Page]
):
    first = open_page()
    ready(first)
    before = pictures(app)
    first.locator(PROMPT).fill("a red heart")
    fill(first, steps=50, batch_count=2)
    first.locator("#generate").click()
    expect(first.locator(PROGRESS)).to_contain_text("Step")
    second = first.context.new_page()
    first.close()
    second.goto(app.url)
    expect(second.locator(PROGRESS)).to_contain_text("Step")
    expect(second.locator("#interrupt")).to_be_enabled()
    expect(second.locator(PROGRESS)).to_contain_text("Done: 2 saved", timeout=720_000)
    assert len(pictures(app) - before) == 2
    expect(second.locator("#gallery img").first).to_be_visible()
    second.reload()
    expect(second.locator(PROGRESS)).to_contain_text("Done: 2 saved")
    expect(second.locator("#infotext textarea")).to_have_value(re.compile("Steps: 50"))


def test_the_settings_are_there_after_a_reload_and_the_others_follow_the_model(page: Page):
    page.locator(PROMPT).fill("a kept prompt")
    fill(page, steps=7, seed=12)
    open_accordion(page, "hires-settings")
    page.locator("#hires input").check()
    page.reload()
    ready(page)
    expect(page.locator(PROMPT)).to_have_value("a kept prompt")
    expect(page.locator("#steps input[type=number]")).to_have_value("7")
    expect(page.locator("#seed input")).to_have_value("12")
    open_accordion(page, "sampler-settings")
    expect(page.locator("#eta input")).to_have_value("")
    open_accordion(page, "hires-settings")
    expect(page.locator("#hires input")).to_be_checked()


def test_kept_settings_that_are_no_longer_valid_are_left_out(page: Page):
    page.evaluate(
        """() => localStorage.setItem("embeddings-webui.txt2img",
        JSON.stringify({sampler: "Gone", steps: "many", prompt: "still here", cfg_scale: 99,
        styles: ["gone"]}))"""
    )
    page.reload()
    ready(page)
    expect(page.locator(PROMPT)).to_have_value("still here")
    expect(page.locator("#steps input[type=number]")).to_have_value("20")
    expect(page.locator("#cfg-scale input[type=number]")).to_have_value("4")
    expect(page.locator("#styles")).not_to_contain_text("gone")


def test_skip_gives_up_a_batch_and_the_rest_goes_on(app: App, page: Page):
    before = pictures(app)
    page.locator(PROMPT).fill("a red heart")
    fill(page, steps=40, batch_count=2)
    page.locator("#generate").click()
    expect(page.locator(PROGRESS)).to_contain_text("Step")
    page.locator("#skip").click()
    expect(page.locator(PROGRESS)).to_contain_text("1 saved", timeout=540_000)
    expect(page.locator(PROGRESS)).to_contain_text("1 skipped")
    assert len(pictures(app) - before) == 1


def test_an_interrupted_picture_is_kept_and_shown_with_its_parameters(app: App, page: Page):
    draw(page, app, "a red heart", steps=4)
    former = page.locator("#gallery img").first.get_attribute("src")
    before = pictures(app)
    page.locator(PROMPT).fill("a blue star")
    fill(page, steps=150)
    page.locator("#generate").click()
    expect(page.locator(PROGRESS)).to_contain_text(re.compile("Step [1-9]"), timeout=600_000)
    page.locator("#interrupt").click()
    expect(page.locator(PROGRESS)).to_contain_text("Interrupted")
    expect(page.locator("#gallery img").first).not_to_have_attribute("src", former)
    (partial,) = pictures(app) - before
    expect(page.locator("#infotext textarea")).to_have_value(read_parameters(partial))
    assert "a blue star" in read_parameters(partial) and "Steps: 150" in read_parameters(partial)


def test_interrupt_before_the_first_step_leaves_the_former_picture(app: App, page: Page):
    draw(page, app, "a red heart", steps=4)
    shown = page.locator("#gallery img").first.get_attribute("src")
    client = httpx.Client(base_url=f"{app.url}/sdapi/v1", timeout=180)
    busy = {"prompt": "a busy star", "steps": 150, "width": 512, "height": 512}
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(client.post, "/txt2img", json=busy)
        wait_until(lambda: client.get("/progress").json()["state"]["sampling_step"] > 0)
        page.locator("#generate").click()
        expect(page.locator(PROGRESS)).to_contain_text("Queued: 1 ahead")
        page.locator("#interrupt").click()
        expect(page.locator(PROGRESS)).to_contain_text("Interrupted")
        client.post("/interrupt")
        assert asked.result().status_code == 200
    expect(page.locator("#gallery img").first).to_have_attribute("src", shown)
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("a red heart"))
    expect(page.locator("#delete-picture")).to_be_enabled()


def test_generate_while_something_is_drawn_is_queued_and_says_so(app: App, page: Page):
    before = pictures(app)
    page.locator(PROMPT).fill("a red heart")
    fill(page, steps=150)
    page.locator("#generate").click()
    expect(page.locator(PROGRESS)).to_contain_text("of 150")
    page.locator(PROMPT).fill("a blue star")
    fill(page, steps=5)
    page.locator("#generate").click()
    expect(page.locator(PROGRESS)).to_contain_text("Queued: 1 ahead.")
    page.locator("#generate").click()
    expect(page.locator(PROGRESS)).to_contain_text("Queued: 2 ahead.")
    expect(page.locator(PROGRESS)).to_contain_text("of 150")
    page.locator("#interrupt").click()
    wait_for_pictures(page, app, before, 3)
    expect(page.locator(PROGRESS)).to_contain_text("Done: 1 saved")
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("a blue star"))
    expect(page.locator("#interrupt")).to_be_disabled()


def test_what_was_queued_is_followed_after_a_reload(app: App, page: Page):
    before = pictures(app)
    page.locator(PROMPT).fill("a red heart")
    fill(page, steps=150)
    page.locator("#generate").click()
    expect(page.locator(PROGRESS)).to_contain_text("of 150")
    page.locator(PROMPT).fill("a blue star")
    fill(page, steps=5)
    page.locator("#generate").click()
    expect(page.locator(PROGRESS)).to_contain_text("Queued: 1 ahead.")
    page.reload()
    expect(page.locator(PROGRESS)).to_contain_text("Queued: 1 ahead.")
    page.locator("#interrupt").click()
    wait_for_pictures(page, app, before, 2)
    expect(page.locator(PROGRESS)).to_contain_text("Done: 1 saved", timeout=600_000)
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("a blue star"))
    page.reload()
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("a blue star"))


def test_generate_forever_goes_on_until_interrupt(app: App, page: Page):
    before = pictures(app)
    page.locator("#forever input").check()
    page.locator(PROMPT).fill("a red heart")
    fill(page, steps=4)
    page.locator("#generate").click()
    wait_for_pictures(page, app, before, 3)
    fill(page, steps=150)
    expect(page.locator(PROGRESS)).to_contain_text("of 150")
    page.locator("#interrupt").click()
    expect(page.locator(PROGRESS)).to_contain_text("Interrupted")
    expect(page.locator("#forever input")).not_to_be_checked()
    drawn = pictures(app)
    page.wait_for_timeout(1500)
    assert pictures(app) == drawn


def test_generate_forever_is_taken_up_after_a_reload_and_ends_with_its_page(
    app: App, open_page: Callable[..., Page]
):
    page = open_page()
    ready(page)
    page.locator("#forever input").check()
    page.locator(PROMPT).fill("a green heart")
    fill(page, steps=12)
    page.locator("#generate").click()
    expect(page.locator(PROGRESS)).to_contain_text("of 12")
    page.reload()
    expect(page.locator("#forever input")).to_be_checked()
    before = pictures(app)
    wait_for_pictures(page, app, before, 3)
    drawn = sorted(pictures(app) - before)
    assert all("Steps: 12," in read_parameters(path) for path in drawn)
    assert all(read_parameters(path).startswith("a green heart") for path in drawn)
    other = page.context.new_page()
    page.close()
    other.goto(app.url)
    expect(other.locator(PROGRESS)).to_contain_text("Done")
    expect(other.locator("#forever input")).not_to_be_checked()
    drawn = pictures(app)
    other.wait_for_timeout(2500)
    assert pictures(app) == drawn


def test_a_reload_does_not_draw_what_was_not_going_on(app: App, page: Page):
    draw(page, app, "a red heart", steps=4)
    page.locator("#forever input").check()
    drawn = pictures(app)
    page.reload()
    ready(page)
    expect(page.locator(PROGRESS)).to_contain_text("Done: 1 saved")
    page.wait_for_timeout(2000)
    assert pictures(app) == drawn
    expect(page.locator("#forever input")).to_be_checked()


def test_a_picture_can_be_deleted_and_brought_back(app: App, page: Page):
    drawn = draw(page, app, "a red heart", steps=4, batch_size=2, seed=5)
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("Seed: 5,"))
    page.locator("#delete-picture").click()
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("Seed: 6,"))
    left = drawn & pictures(app)
    assert [path.name[-5:] for path in left] == ["6.png"]
    page.locator("#undo-picture").click()
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("Seed: 5,"))
    expect(page.locator("#undo-picture")).to_be_hidden()
    assert drawn <= pictures(app)


def test_a_picture_that_is_gone_is_not_deleted_in_silence(app: App, page: Page):
    (drawn,) = draw(page, app, "a red heart", steps=4)
    drawn.unlink()
    page.locator("#delete-picture").click()
    expect(page.locator(".toast-body")).to_contain_text(drawn.name)


def test_a_picture_is_sent_on_and_the_gallery_cleared(app: App, page: Page):
    path = app.embeddings / "sent.pt"
    torch.save({"string_to_param": {"*": torch.randn(1, 128) * 0.04}}, path)
    page.locator(PROMPT).fill("a red heart, <sent>")
    expect(page.locator(".xray .chip").first).to_contain_text("sent")
    drawn = draw(page, app, "a red heart, <sent>", steps=3, seed=11)
    page.locator(PROMPT).fill("something else")
    page.locator("#send-controls").click()
    expect(page.locator(PROMPT)).to_have_value("a red heart, <sent>")
    page.locator("#send-preview").click()
    expect(page.locator("#messages")).to_contain_text("The card of sent")
    assert (app.embeddings / "sent.preview.png").is_file()
    page.locator("#send-png-info").click()
    expect(page.locator("#png-info-text textarea")).to_have_value(re.compile("Seed: 11,"))
    page.get_by_role("tab", name="txt2img").click()
    page.locator("#clear-gallery").click()
    expect(page.locator("#gallery img")).to_have_count(0)
    expect(page.locator("#infotext textarea")).to_have_value("")
    assert drawn <= pictures(app)
    path.unlink()
    (app.embeddings / "sent.preview.png").unlink()


def test_hires_fix_and_a_grid_from_the_page(app: App, page: Page):
    open_accordion(page, "hires-settings")
    open_accordion(page, "saving-settings")
    page.locator("#hires input").check()
    page.locator("#save-grid input").check()
    drawn = draw(page, app, "a red heart", steps=8, hires_scale=1.5, hires_steps=4, batch_size=2)
    sizes = {path.name.split("-")[0]: open_picture(path).size for path in drawn}
    assert sizes.pop("grid") == (768, 384)
    assert set(sizes.values()) == {(384, 384)}
    infotext = read_parameters(max(drawn))
    assert "Hires upscale: 1.5, Hires steps: 4, Hires upscaler: Latent" in infotext
    assert "Eta" not in infotext


def test_eta_from_the_page_goes_into_the_picture(app: App, page: Page):
    open_accordion(page, "sampler-settings")
    page.locator("#eta input").fill("0.5")
    [drawn] = draw(page, app, "a red heart", steps=2)
    assert "Eta DDIM: 0.5" in read_parameters(drawn)


def test_a_message_opens_the_section_of_its_control(page: Page):
    page.locator(PROMPT).fill("a red heart")
    open_accordion(page, "saving-settings")
    pattern = page.locator("#folder-pattern").locator("input, textarea")
    pattern.fill("[sead]")
    open_accordion(page, "saving-settings")
    expect(pattern).to_be_hidden()
    page.locator("#generate").click()
    expect(pattern).to_be_focused()
    expect(pattern).to_have_accessible_description(re.compile("no placeholder .sead"))


def test_numbers_that_cannot_be_are_mended_with_words(page: Page):
    steps, seed = page.locator("#steps input[type=number]"), page.locator("#seed input")
    steps.fill("500")
    seed.fill("")
    expect(page.locator("#steps .field-note")).to_contain_text("goes up to 150")
    expect(steps).to_have_value("150")
    steps.fill("")
    expect(page.locator("#seed .field-note")).to_have_text("Seed was left empty and is -1 again.")
    expect(seed).to_have_value("-1")
    seed.focus()
    expect(page.locator("#steps .field-note")).to_contain_text("is 20 again")
    expect(steps).to_have_value("20")


def test_an_empty_prompt_recalls_the_newest_image_and_open_tabs_come_back(app: App, page: Page):
    draw(page, app, "a recalled heart", steps=3, seed=77)
    page.locator("#clear-prompts").click()
    expect(page.locator(PROMPT)).to_have_value("")
    fill(page, seed=1)
    page.get_by_role("button", name="Read parameters from the prompt").click()
    expect(page.locator(PROMPT)).to_have_value("a recalled heart")
    expect(page.locator("#seed input")).to_have_value("77")
    for name in ("Textual Inversion", "PNG Info"):
        page.get_by_role("tab", name=name).click()
        page.reload()
        tab = page.get_by_role("tab", name=name)
        expect(tab).to_have_attribute("aria-selected", "true")


def test_a_usual_size_is_put_into_width_and_height(page: Page):
    page.locator("#size-presets input").click()
    page.get_by_role("option", name="256×384").click()
    expect(page.locator("#height input[type=number]")).to_have_value("384")
    expect(page.locator("#width input[type=number]")).to_have_value("256")


def test_a_style_is_saved_chosen_used_and_deleted(app: App, page: Page):
    page.locator(PROMPT).fill("{prompt}, on a <b>blue</b> background")
    page.locator("#edit-styles").click()
    page.locator("#save-style").click()
    expect(page.locator("#style-name .field-message")).to_contain_text("needs a name")
    page.locator("#style-name input, #style-name textarea").fill("bl<i>ue")
    page.locator("#save-style").click()
    expect(page.locator("#styles-answer")).to_contain_text("bl<i>ue is saved")
    page.wait_for_timeout(1500)
    page.locator("#styles input").click()
    page.get_by_role("option", name="bl<i>ue").click()
    (picture,) = draw(page, app, "a red heart", steps=4)
    assert read_parameters(picture).startswith("a red heart, on a <b>blue</b> background\n")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator("#delete-styles").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#delete-styles").click()
    expect(page.locator("#styles-answer")).to_contain_text("Deleted: bl<i>ue")
    assert "blue" not in (app.outputs.parent / "styles.csv").read_text()


def test_the_tab_fits_a_phone(open_page: Callable[..., Page]):
    page = open_page(width=390, height=800)
    page.locator("#edit-styles").click()
    for accordion in ("hires-settings", "extra-settings", "xyz"):
        open_accordion(page, accordion)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    seed = page.locator("#seed")
    seed.scroll_into_view_if_needed()
    results = page.locator("#results").bounding_box()
    assert results["y"] + results["height"] <= seed.bounding_box()["y"], "the image lies over it"
