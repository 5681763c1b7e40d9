"""Cards and keys change prompts by the rules that read them, and Escape closes before it stops."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import App

pytestmark = pytest.mark.browser

PROMPT = "#prompt textarea"
NAMES = ("painting", "foo", "v1")


@pytest.fixture(scope="module")
def embeddings(app: App) -> Iterator[None]:
    """Three embeddings, of which ``painting`` is only called explicitly."""
    for name in NAMES:
        file = {"string_to_param": {"*": torch.randn(2, 128) * 0.04}}
        torch.save(file, app.embeddings / f"{name}.pt")
    (app.embeddings / "painting.json").write_text(json.dumps({"explicit only": True}))
    yield
    for name in NAMES:
        (app.embeddings / f"{name}.pt").unlink()
    (app.embeddings / "painting.json").unlink()


@pytest.fixture
def page(embeddings: None, open_page: Callable[..., Page]) -> Page:
    page = open_page()
    page.get_by_role("tab", name="Textual Inversion").click()
    expect(card(page, "painting")).to_be_visible()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    return page


def card(page: Page, name: str) -> Locator:
    return page.locator("#prompt-cards .card").filter(has=page.get_by_text(name, exact=True))


def write(prompt: Locator, text: str) -> None:
    """Type a text whose | is where the caret goes."""
    prompt.fill(text.replace("|", ""))
    prompt.evaluate("(box, at) => { box.focus(); box.setSelectionRange(at, at); }", text.find("|"))


@pytest.mark.parametrize(
    ("name", "text", "once", "twice"),
    [
        ("painting", "an oil painting of a cat,|", "an oil painting of a cat, <painting>,", None),
        ("painting", "|<painting>", "", "<painting>"),
        ("foo", "|embedding:foo, dog", "dog", None),
        ("v1", "v1.5 look, v1|", "v1.5 look", None),
        ("foo", "🐸🐸| pond", "🐸🐸, foo pond", None),
    ],
)
def test_a_click_takes_a_call_out_and_nothing_else(
    page: Page, name: str, text: str, once: str, twice: str | None
):
    prompt = page.locator(PROMPT)
    write(prompt, text)
    card(page, name).click()
    expect(prompt).to_have_value(once)
    prompt.press("Control+z")
    expect(prompt).to_have_value(text.replace("|", ""))
    card(page, name).click()
    expect(prompt).to_have_value(once)
    if "," in once:
        card(page, name).click()
        expect(prompt).to_have_value(twice or text.replace("|", ""))


@pytest.mark.parametrize(
    ("text", "key", "changed"),
    [
        ("<paint|ing>", "ArrowUp", "(<painting>:1.1)"),
        ("<lora:in|k:0.8>", "ArrowDown", "<lora:ink:0.75>"),
        ("[ca|t]", "ArrowUp", "cat"),
        ("[ca|t]", "ArrowDown", "(cat:0.8)"),
    ],
)
def test_keys_weigh_calls_as_a_whole(page: Page, text: str, key: str, changed: str):
    prompt = page.locator(PROMPT)
    write(prompt, text)
    prompt.press(f"Control+{key}")
    expect(prompt).to_have_value(changed)
    prompt.press("Control+z")
    expect(prompt).to_have_value(text.replace("|", ""))


def test_keys_pressed_quickly_and_letters_typed_meanwhile_are_all_there(page: Page):
    prompt = page.locator(PROMPT)
    write(prompt, "a cat|")
    for _ in range(6):
        prompt.press("Control+ArrowUp")
    expect(prompt).to_have_value("a (cat:1.6)")
    page.route("**/prompt-edits", lambda route: (page.wait_for_timeout(300), route.continue_()))
    prompt.press("End")
    card(page, "foo").click(no_wait_after=True)
    prompt.press_sequentially(" sat", delay=10)
    expect(prompt).to_have_value("a (cat:1.6) sat, foo")


def test_escape_closes_what_is_open_and_only_then_interrupts(page: Page):
    # The button is only alive during a job; here it is made so, and its presses are counted.
    alive = "document.querySelector('#interrupt').disabled = false"
    page.evaluate(
        "() => { window.pressed = 0; document.querySelector('#interrupt')"
        ".addEventListener('click', () => { window.pressed += 1; }); }"
    )
    page.evaluate(alive)

    page.locator(PROMPT).fill("a red heart")
    page.get_by_role("tab", name="Generation").click()
    page.locator("#steps input[type=number]").fill("1")
    page.locator("#generate").click()
    expect(page.locator("#progress")).to_contain_text("Done", timeout=600_000)
    page.evaluate(alive)
    page.locator("#gallery").get_by_label("Fullscreen").click()
    expect(page.locator("#gallery").get_by_label("Exit fullscreen")).to_be_visible()
    page.locator("body").press("Escape")
    expect(page.locator("#gallery").get_by_label("Exit fullscreen")).to_have_count(0)
    page.get_by_role("tab", name="Textual Inversion").click()
    search = page.locator("#prompt-cards .cards-search")
    search.fill("pain")
    search.press("Escape")
    expect(search).to_have_value("")
    page.get_by_role("tab", name="Generation").click()
    menu = page.locator("#sampler input")
    menu.click()
    expect(page.get_by_role("option", name="LMS", exact=True)).to_be_visible()
    menu.press("Escape")
    expect(page.get_by_role("option", name="LMS", exact=True)).to_be_hidden()
    prompt = page.locator(PROMPT)
    prompt.press_sequentially("fo")
    expect(page.locator(".completion")).to_be_hidden()
    prompt.fill("")
    prompt.press_sequentially("paint")
    expect(page.locator(".completion")).to_be_visible()
    prompt.press("Escape")
    expect(page.locator(".completion")).to_be_hidden()
    assert page.evaluate("window.pressed") == 0
    prompt.press("Escape")
    assert page.evaluate("window.pressed") == 1
