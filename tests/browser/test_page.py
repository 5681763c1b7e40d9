"""The page under people's hands: cards, prompts, messages at fields, bad files, many tabs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import App
from tests.parts import wait_until

pytestmark = pytest.mark.browser

PROMPT, NEGATIVE = "#prompt textarea", "#negative-prompt textarea"


class RunsCode:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))


@pytest.fixture
def embedding(app: App) -> Iterator[Callable[[str], Path]]:
    """Write small embeddings for the starter model; they are taken away after the test."""
    written: list[Path] = []

    def write(name: str, width: int = 128) -> Path:
        path = app.embeddings / name
        torch.save({"string_to_param": {"*": torch.randn(2, width) * 0.04}, "step": 7}, path)
        written.append(path)
        return path

    yield write
    for path in written:
        path.unlink(missing_ok=True)


def card(page: Page, name: str, grid: str = "prompt-cards") -> Locator:
    return page.locator(f"#{grid} .card").filter(has=page.get_by_text(name, exact=True))


def open_cards(page: Page) -> None:
    page.get_by_role("tab", name="Textual Inversion").click()
    expect(page.locator("#prompt-cards .cards-search")).to_be_visible()


def set_caret(box: Locator, start: int, end: int | None = None) -> None:
    box.evaluate(
        "(box, [start, end]) => { box.focus(); box.setSelectionRange(start, end); }",
        [start, start if end is None else end],
    )


def test_a_click_inserts_at_the_caret_and_a_second_click_takes_exactly_that_out(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    for name in ("bad.pt", "bad-hands-5.pt"):
        embedding(name)
    page = open_page()
    open_cards(page)
    prompt = page.locator(PROMPT)
    prompt.fill("a cat, bad-hands-5, a hat")
    set_caret(prompt, 5)
    card(page, "bad").click()
    expect(prompt).to_have_value("a cat, bad, bad-hands-5, a hat")
    card(page, "bad").click()
    expect(prompt).to_have_value("a cat, bad-hands-5, a hat")
    prompt.fill("a cat, ((bad:1.2)), a hat")
    card(page, "bad").click()
    expect(prompt).to_have_value("a cat, a hat")
    prompt.press("Control+z")
    expect(prompt).to_have_value("a cat, ((bad:1.2)), a hat")


def test_names_with_brackets_are_inserted_so_that_they_are_understood(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    embedding("c++ (new).pt")
    page = open_page()
    open_cards(page)
    card(page, "c++ (new)").click()
    expect(page.locator(PROMPT)).to_have_value(r"c++ \(new\)")
    expect(page.locator(".xray").first).to_contain_text("c++ (new)")
    card(page, "c++ (new)").click()
    expect(page.locator(PROMPT)).to_have_value("")


def test_the_prompt_that_had_the_focus_last_gets_the_name(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    embedding("blurry_v2.pt")
    page = open_page()
    open_cards(page)
    page.locator(NEGATIVE).click()
    card(page, "blurry_v2").click()
    expect(page.locator("#prompt-cards .cards-toast")).to_contain_text("into the negative prompt")
    expect(page.locator(NEGATIVE)).to_have_value("blurry_v2")
    expect(page.locator(PROMPT)).to_have_value("")


def test_the_line_follows_how_prompts_are_parsed(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    embedding("marc_allante.pt")
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    line = page.locator(".xray").first
    page.locator("#steps input[type=number]").fill("10")
    page.locator(PROMPT).fill("(marc_allante:1.3) [cat:dog:0.5]")
    expect(line.locator(".chip").first).to_have_text("marc_allante × 1.3")
    expect(line.locator(".mark").first).to_have_text("steps 1–6")
    page.get_by_role("button", name="Prompt parsing").click()
    page.locator("#early-schedules input").check()
    expect(line.locator(".mark").first).to_have_text("steps 1–5")
    page.locator("#emphasis input").click()
    page.get_by_role("option", name="Ignore").click()
    expect(line.locator(".chip").first).to_have_text("marc_allante")
    page.locator("#steps input[type=number]").fill("20")
    expect(line.locator(".mark").first).to_have_text("steps 1–10")


def test_keys_change_the_weight_of_the_word_at_the_caret(open_page: Callable[..., Page]):
    page = open_page()
    prompt = page.locator(PROMPT)
    prompt.fill("a cat and a dog")
    set_caret(prompt, 3)
    prompt.press("Control+ArrowUp")
    expect(prompt).to_have_value("a (cat:1.1) and a dog")
    prompt.press("Control+ArrowUp")
    expect(prompt).to_have_value("a (cat:1.2) and a dog")
    for _ in range(3):
        prompt.press("Control+ArrowDown")
    expect(prompt).to_have_value("a (cat:0.9) and a dog")


def test_keys_weigh_a_name_with_blanks_and_brackets_as_one(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    embedding("c++ (new) style.pt")
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    prompt = page.locator(PROMPT)
    prompt.fill(r"a cat, c++ \(new\) style, a hat")
    expect(page.locator(".xray").first).to_contain_text("c++ (new) style")
    set_caret(prompt, 15)
    prompt.press("Control+ArrowUp")
    expect(prompt).to_have_value(r"a cat, (c++ \(new\) style:1.1), a hat")
    expect(page.locator(".xray").first).to_contain_text("c++ (new) style × 1.1")
    prompt.press("Control+ArrowDown")
    expect(prompt).to_have_value(r"a cat, c++ \(new\) style, a hat")


def test_the_line_under_a_prompt_says_what_was_understood(
    embedding: Callable[..., Path], open_page: Callable[..., Page]
):
    embedding("marc_allante.pt")
    embedding("sdxl_face.pt", 1280)
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    prompt, line = page.locator(PROMPT), page.locator(".xray").first
    prompt.fill("a (marc_allante:1.3) house")
    expect(line.locator(".count")).to_have_text("4/75")
    expect(line.locator(".chip")).to_have_text("marc_allante × 1.3")
    prompt.fill("red BREAK blue <lora:thing:0.5>")
    expect(line.locator(".count")).to_have_text(re.compile(r"\d+/150"))
    expect(line.locator(".chip.missing")).to_have_text("LoRA thing × 0.5")
    expect(line.locator(".warn")).to_contain_text("There is no LoRA “thing”")
    prompt.fill("sdxl_face and (a")
    expect(line.locator(".warn")).to_have_count(2)
    prompt.fill("")
    expect(line).to_have_text("0/75")


def test_two_letters_offer_names_and_tab_or_enter_takes_one(
    embedding: Callable[..., Path], open_page: Callable[..., Page]
):
    for name, width in (("marc_allante.pt", 128), ("marble.pt", 128), ("mars.pt", 768)):
        embedding(name, width)
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    prompt = page.locator(PROMPT)
    prompt.press_sequentially("a house by mar")
    names = page.locator(".completion-option span")
    expect(names).to_have_text(["marble", "marc_allante"])
    expect(prompt).to_have_attribute("aria-activedescendant", "completion-0")
    prompt.press("ArrowDown")
    expect(page.locator("#completion-1")).to_have_attribute("aria-selected", "true")
    expect(prompt).to_have_attribute("aria-activedescendant", "completion-1")
    prompt.press("Enter")
    expect(prompt).to_have_value("a house by marc_allante")
    expect(prompt).not_to_have_attribute("aria-activedescendant", "completion-1")
    expect(page.locator(".completion")).to_be_hidden()
    prompt.press_sequentially(", (marb")
    expect(names).to_have_text(["marble"])
    names.first.click()
    expect(prompt).to_have_value("a house by marc_allante, (marble")
    for begun, whole in (("<marb", "<marble>"), ("embedding:marb", "embedding:marble")):
        prompt.fill("")
        prompt.press_sequentially(begun)
        expect(page.locator(".completion")).to_be_visible()
        expect(names).to_have_text(["marble"])
        prompt.press("Tab")
        expect(prompt).to_have_value(whole)


def test_a_search_that_finds_nothing_says_what_to_do(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    embedding("fire.pt")
    page = open_page()
    open_cards(page)
    page.locator("#prompt-cards .cards-search").fill("FIR")
    expect(card(page, "fire")).to_be_visible()
    page.locator("#prompt-cards .cards-search").fill("water")
    expect(page.locator("#prompt-cards .cards-empty")).to_contain_text("Clear the search")


def test_bad_files_are_shown_with_the_reason_and_nothing_of_them_runs(
    app: App, embedding: Callable[..., Path], open_page: Callable[..., Page], tmp_path: Path
):
    proof = tmp_path / "ran"
    whole = embedding("whole.pt").read_bytes()
    not_a_number = {"string_to_param": {"*": torch.full((1, 128), torch.nan)}}
    bad: dict[str, Callable[[Path], object]] = {
        "hostile.pt": lambda path: torch.save(RunsCode(proof), path),
        "cut.pt": lambda path: path.write_bytes(whole[:300]),
        "text.pt": lambda path: path.write_text("this is not an embedding"),
        "empty.bin": lambda path: path.write_bytes(b""),
        "nan.pt": lambda path: torch.save(not_a_number, path),
        "huge.pt": lambda path: os.truncate(path, 4 * 2**30) if path.touch() is None else None,
    }
    embedding("fine.pt")
    embedding("wrong_width.pt", 768)
    paths = []
    for name, write in bad.items():
        write(app.embeddings / name)
        paths.append(app.embeddings / name)
    page = open_page()
    page.get_by_role("tab", name="Embeddings").click()
    for path in paths:
        reason = card(page, path.stem, "all-cards").locator(".card-reason")
        expect(reason).to_have_text(re.compile(r"\w+ \w+.*"))
    expect(card(page, "wrong_width", "all-cards")).to_contain_text("needs 128")
    expect(card(page, "fine", "all-cards").locator(".card-reason")).to_have_count(0)
    for path in paths:
        path.unlink()
    assert not proof.exists()
    assert app.process.poll() is None


def test_names_from_strangers_are_text(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    hostile = "<img src=x onerror=document.title=1>${document.title=2}{{name}}'\""
    embedding(f"{hostile}.pt")
    page = open_page()
    open_cards(page)
    expect(card(page, hostile)).to_be_visible()
    page.get_by_role("tab", name="Embeddings").click()
    expect(card(page, hostile, "all-cards")).to_be_visible()
    card(page, hostile, "all-cards").click()
    expect(page.locator(".details-name")).to_have_text(hostile)
    page.locator("#details-form").get_by_role("tab", name="About").click()
    expect(page.locator("#details")).to_contain_text(hostile)
    expect(page).to_have_title("Embeddings WebUI")


def test_a_card_that_was_there_before_the_page_has_its_details(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    embedding("early.pt")
    open_page()  # by now the file is known, so the next page gets it with its first answer
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.get_by_role("tab", name="Embeddings").click()
    card(page, "early", "all-cards").click()
    page.locator("#details-form").get_by_role("tab", name="About").click()
    expect(page.locator("#details")).to_contain_text("early.pt")


def test_a_deleted_embedding_can_be_brought_back(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    path = embedding("precious.pt")
    page = open_page()
    page.get_by_role("tab", name="Embeddings").click()
    card(page, "precious", "all-cards").click()
    expect(page.locator(".details-name")).to_have_text("precious")
    page.locator("#details-form").get_by_role("tab", name="File").click()
    page.locator("#delete-embedding").click()
    expect(card(page, "precious", "all-cards")).to_have_count(0)
    assert not path.exists()
    page.locator("#undo-delete").click()
    expect(card(page, "precious", "all-cards")).to_be_visible()
    assert path.is_file()


def test_notes_are_kept_and_decide_what_a_click_writes(
    app: App, embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    embedding("noted.pt")
    page = open_page()
    page.get_by_role("tab", name="Embeddings").click()
    card(page, "noted", "all-cards").click()
    page.locator("#details-description textarea").fill("a fine one")
    page.get_by_label("with weight").fill("0.8")
    page.get_by_label("with weight").press("Tab")
    expect(page.locator("#notes-answer")).to_contain_text("saved")
    wait_until(lambda: '"preferred weight": 0.8' in (app.embeddings / "noted.json").read_text())
    page.get_by_role("tab", name="txt2img").click()
    open_cards(page)
    page.wait_for_timeout(1500)
    card(page, "noted").click()
    expect(page.locator(PROMPT)).to_have_value("(noted:0.8)")
    (app.embeddings / "noted.json").unlink()


def test_a_file_that_is_no_embedding_is_not_added(
    app: App, open_page: Callable[..., Page], tmp_path: Path
):
    path = tmp_path / "story.pt"
    path.write_text("once upon a time")
    page = open_page()
    page.get_by_role("tab", name="Embeddings").click()
    page.locator("#add-embeddings input[type=file]").set_input_files(path)
    expect(page.locator("#add-answer")).to_contain_text("story.pt was not added")
    assert not (app.embeddings / "story.pt").exists()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("prompt", "", "prompt is empty"),
        ("seed", "-2", "between -1 and"),
        ("height", "100", "multiple of 8"),
    ],
)
def test_a_bad_value_is_told_at_its_field_and_nothing_is_lost(
    open_page: Callable[..., Page], field: str, value: str, words: str
):
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.locator(NEGATIVE).fill("kept")
    page.locator(PROMPT).fill("a red heart")
    box = page.locator(f"#{field} textarea, #{field} input:not([type=range])")
    box.fill(value)
    box.press("Tab")
    page.locator("#generate").click()
    expect(page.locator(f"#{field} .field-message")).to_contain_text(words)
    page.wait_for_timeout(1500)
    expect(page.locator(f"#{field} .field-message")).to_be_visible()
    expect(page.locator(NEGATIVE)).to_have_value("kept")
    box.fill("a heart" if field == "prompt" else "64")
    expect(page.locator(f"#{field} .field-message")).to_have_count(0)


def test_a_slider_takes_the_nearest_of_its_values(open_page: Callable[..., Page]):
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    for field, value, nearest in (("width", "7", "64"), ("steps", "999", "150")):
        box = page.locator(f"#{field} input[type=number]")
        box.fill(value)
        box.press("Tab")
        expect(box).to_have_value(nearest)


def test_what_was_typed_before_the_model_was_there_is_kept(open_page: Callable[..., Page]):
    page = open_page()
    page.wait_for_function("document.querySelector('#width input[type=number]') !== null")
    steps = page.locator("#steps input[type=number]")
    steps.fill("7")
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    expect(page.locator("#width input[type=number]")).to_have_value("256")
    expect(steps).to_have_value("7")


def test_an_unknown_name_is_told_with_the_nearest_one(
    embedding: Callable[[str], Path], open_page: Callable[..., Page]
):
    embedding("BadDream_v2.pt")
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.locator(PROMPT).fill("a cat <baddream>")
    expect(page.locator(".xray .warn").first).to_contain_text("BadDream_v2")


def test_interrupt_ends_a_long_generation(open_page: Callable[..., Page]):
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.locator(PROMPT).fill("a red heart")
    page.locator("#steps input[type=number]").fill("150")
    page.locator("#steps input[type=number]").press("Tab")
    page.locator("#batch-count input[type=number]").fill("20")
    page.locator("#batch-count input[type=number]").press("Tab")
    page.locator("#generate").click()
    expect(page.locator("#preview img")).to_be_visible(timeout=90_000)
    page.locator("#interrupt").click()
    expect(page.locator("#progress")).to_contain_text("Interrupted")
    expect(page.locator("#interrupt")).to_be_disabled()


def test_two_pictures_and_a_pdf_are_refused_at_the_pictures(
    open_page: Callable[..., Page], tmp_path: Path
):
    files = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (64, 64), (number * 15, 90, 200 - number * 10)).save(path)
        files.append(path)
    pdf = tmp_path / "scan.jpg"
    pdf.write_bytes(b"%PDF-1.7 nothing to see")
    page = open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.get_by_role("tab", name="Train").click()
    page.locator("#train-name input").fill("my_thing_1")
    page.locator("#train-initializer input").fill("star")
    for given, words in (
        (files[:2], "at least 3"),
        ([*files, pdf], "scan.jpg"),
    ):
        if page.locator("#train-pictures").get_by_label("Clear").count():
            page.locator("#train-pictures").get_by_label("Clear").click()
        page.locator("#train-pictures input[type=file]").set_input_files(given)
        rows = page.locator("#train-pictures .file-preview tr, #train-pictures .file")
        expect(rows).to_have_count(len(given))
        page.locator("#train-start").click()
        expect(page.locator("#train-pictures .field-message")).to_contain_text(words)
    expect(page.locator("#train-name input")).to_have_value("my_thing_1")


def test_eight_tabs_at_once_all_work(open_page: Callable[..., Page], chromium, app: App):
    first = open_page()
    others = [first.context.new_page() for _ in range(7)]
    for page in others:
        page.goto(app.url)
    for page in others:
        expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_tab_scrolls_sideways(open_page: Callable[..., Page], width: int, theme: str):
    page = open_page(f"?__theme={theme}", width=width)
    for tab in ("txt2img", "Embeddings", "Train"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_server_hands_out_nothing_but_its_own(app: App):
    import json
    import urllib.error
    import urllib.request

    def status(path: str, data: dict | None = None, **headers: str) -> int:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(
            app.url + path, body, {"Content-Type": "application/json", **headers}
        )
        try:
            return urllib.request.urlopen(request, timeout=90).status
        except urllib.error.HTTPError as error:
            return error.code

    secret = app.embeddings.parent / "secret.txt"
    secret.write_text("secret")
    for path in ("/etc/passwd", str(secret), str(Path(__file__))):
        assert status(f"/gradio_api/file={path}") in (403, 404)
    assert status("/", Host="evil.example") == 400
    assert status("/redoc") == 404
    assert status("/monitoring/summary") in (403, 404)
