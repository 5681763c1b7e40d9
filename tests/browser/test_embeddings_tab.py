"""The Embeddings tab under people's hands: thousands of cards, folders, and all about one file."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import App, apps
from webui.embeddings import formats
from webui.embeddings.embedding import Embedding
from webui.generation.metadata.infotext import write_infotext
from webui.generation.outputs import save_picture
from webui.generation.request import GenerationRequest

pytestmark = pytest.mark.browser

MANY = 2000


def put(path: Path, width: int = 128, metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Embedding(path.stem, {"clip_l": torch.randn(2, width) * 0.04})
    formats.write(made, path, "safetensors", metadata)
    return path


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app with thousands of embeddings, some in folders, some for another model."""
    folder = tmp_path_factory.mktemp("full")
    first = put(folder / "embeddings" / "many" / "name-0000.safetensors").read_bytes()
    for number in range(1, MANY):
        (folder / "embeddings" / "many" / f"name-{number:04d}.safetensors").write_bytes(first)
    put(folder / "embeddings" / "animals" / "toad.safetensors", metadata={"recipe": "<b>mud</b>"})
    put(folder / "embeddings" / "animals" / "small" / "newt.safetensors")
    put(folder / "embeddings" / "portrait.safetensors", width=768)
    request = GenerationRequest(prompt="a toad", seed=5)
    text = write_infotext(request, model_name="m", model_hash="0", embeddings={"toad": ""})
    save_picture(
        Image.new("RGB", (64, 64), "olive"), text, folder / "outputs" / "txt2img" / "2024", "5"
    )
    with apps(tmp_path_factory) as start:
        yield start(folder=folder)


@pytest.fixture
def tab(full: App, open_page: Callable[..., Page]) -> Page:
    """The tab, with all cards there."""
    page = open_page(of=full)
    page.get_by_role("tab", name="Embeddings").click()
    expect(page.locator("#all-cards .cards-count")).to_have_text(str(MANY + 3), timeout=90_000)
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    return page


def names(page: Page) -> list[str]:
    return page.locator("#all-cards .card-name").all_inner_texts()


def open_details(page: Page, name: str) -> None:
    page.locator("#all-cards .cards-search").fill(name)
    page.locator("#all-cards .card").filter(has=page.get_by_text(name, exact=True)).click()
    expect(page.locator(".details-name")).to_have_text(name)
    expect(page.locator("#details-form")).to_be_visible()


def open_section(page: Page, title: str) -> None:
    page.locator("#details-form").get_by_role("tab", name=title, exact=True).click()


def test_only_the_cards_in_sight_are_in_the_page_and_scrolling_reaches_the_last(tab: Page):
    cards = tab.locator("#all-cards .card")
    assert cards.count() < 100
    grid = tab.locator("#all-cards .cards-grid")
    grid.evaluate("grid => { grid.scrollTop = grid.scrollHeight; }")
    expect(tab.locator("#all-cards .card", has_text="toad")).to_be_visible()
    assert cards.count() < 100
    grid.evaluate("grid => { grid.scrollTop = 0; }")
    expect(tab.locator("#all-cards .card", has_text="name-0000")).to_be_visible()


def test_folders_models_and_uses_narrow_and_order_the_cards(tab: Page):
    folders = tab.locator("#all-cards .cards-folders")
    folders.get_by_role("button", name="animals 2").click()
    assert sorted(names(tab)) == ["newt", "toad"]
    folders.get_by_role("button", name="animals/small 1").click()
    assert names(tab) == ["newt"]
    folders.get_by_role("button", name="All folders").click()
    tab.locator("#all-cards .cards-sort").select_option("uses")
    assert names(tab)[0] == "toad"
    tab.locator("#all-cards .cards-family").select_option("SD1")
    assert names(tab) == ["portrait"]


def test_the_details_say_what_is_in_the_file_and_where_it_was_used(tab: Page):
    open_details(tab, "toad")
    open_section(tab, "About")
    expect(tab.locator("#details")).to_contain_text("1 image")
    expect(tab.locator("#details-inside")).to_contain_text("<b>mud</b>")
    open_section(tab, "Used in")
    expect(tab.locator("#details-uses img").first).to_be_visible()
    open_section(tab, "Quality")
    expect(tab.locator("#details-vectors")).to_contain_text("Nearest words")


def test_tags_are_kept_and_found(tab: Page, full: App):
    open_details(tab, "newt")
    tab.locator("#details-tags input").fill("swamp, green , swamp")
    tab.locator("#details-tags input").press("Tab")
    expect(tab.locator("#notes-answer")).to_contain_text("Notes saved")
    tab.locator("#all-cards .cards-search").fill("swamp")
    expect(tab.locator("#all-cards .card-name")).to_have_text(["newt"])


def test_notes_are_saved_when_a_field_is_left_and_when_another_card_is_opened(tab: Page, full: App):
    notes = tab.locator("#details-notes textarea")
    open_details(tab, "portrait")
    notes.fill("slowly")
    notes.press("Tab")
    expect(tab.locator("#notes-answer")).to_contain_text("Notes saved")
    notes.fill("written in a hurry")
    open_details(tab, "toad")
    expect(notes).to_have_value("")
    expect(tab.locator("#notes-answer")).to_have_text("")
    assert not (full.embeddings / "animals" / "toad.json").exists()
    open_details(tab, "portrait")
    expect(notes).to_have_value("written in a hurry")
    (full.embeddings / "portrait.json").unlink()


def test_notes_of_a_shadowed_card_are_its_own(tab: Page, full: App):
    other = put(full.embeddings / "far" / "toad.safetensors", metadata={"recipe": "other mud"})
    entry = tab.locator("#all-cards .card-entry", has_text="Another file of the same name")
    tab.locator("#all-cards .cards-search").fill("toad")
    entry.locator(".card").click()
    open_section(tab, "About")
    expect(tab.locator("#details")).to_contain_text("far/toad.safetensors")
    expect(tab.locator(".details-reason")).to_contain_text("Another file of the same name")
    open_section(tab, "Notes")
    tab.locator("#details-notes textarea").fill("the second toad")
    tab.locator("#details-notes textarea").press("Tab")
    expect(tab.locator("#notes-answer")).to_contain_text("Notes saved")
    assert (full.embeddings / "far" / "toad.json").exists()
    assert not (full.embeddings / "animals" / "toad.json").exists()
    open_section(tab, "About")
    expect(tab.locator("#details-inside")).to_contain_text("other mud")
    (full.embeddings / "far" / "toad.json").unlink()
    other.unlink()


def test_measuring_shows_figures_and_a_sheet_and_keeps_them(tab: Page, full: App):
    open_details(tab, "toad")
    open_section(tab, "Quality")
    tab.locator("#measure").click()
    expect(tab.locator("#quality-answer")).to_contain_text("toad", timeout=600_000)
    expect(tab.locator("#quality-figures")).to_contain_text("Editability", timeout=540_000)
    expect(tab.locator("#quality-sheet img")).to_be_visible()
    open_details(tab, "newt")
    expect(tab.locator("#quality-sheet img")).to_have_count(0)
    open_details(tab, "toad")
    expect(tab.locator("#quality-figures")).to_contain_text("Editability")
    expect(tab.locator("#quality-sheet img")).to_be_visible()
    for ending in (".json", ".measured.jpg"):
        (full.embeddings / "animals" / f"toad{ending}").unlink()


def test_several_are_measured_and_what_is_stopped_is_said(tab: Page, full: App):
    tab.locator("#measure-several > button").click()
    names = tab.locator("#measure-names input")
    for name in ("toad", "newt"):
        names.click()
        names.fill(name)
        tab.get_by_role("option", name=name, exact=True).click()
    tab.keyboard.press("Tab")
    tab.locator("#measure-chosen").click()
    expect(tab.locator("#measure-answer")).to_contain_text("toad", timeout=600_000)
    tab.locator("#measure-chosen-stop").click()
    expect(tab.locator("#measure-answer")).to_contain_text("Stopped", timeout=600_000)
    assert not (full.embeddings / "animals" / "small" / "newt.measured.jpg").exists()


def test_a_card_gets_the_last_picture_and_another_one_shows_at_once(tab: Page, full: App):
    open_details(tab, "newt")
    open_section(tab, "Preview")
    tab.locator("#take-preview").click()
    expect(tab.locator("#details-picture")).to_contain_text("The card shows it now")
    image = tab.locator("#all-cards .card", has_text="newt").locator("img")
    expect(image).to_be_visible()
    before = image.get_attribute("src")
    tab.locator("#draw-preview").click()
    expect(image).not_to_have_attribute("src", before, timeout=600_000)
    assert (full.embeddings / "animals" / "small" / "newt.preview.png").exists()


def test_a_file_is_moved_and_downloaded_in_every_format(tab: Page, full: App, tmp_path: Path):
    path = put(full.embeddings / "wanderer.safetensors")
    open_details(tab, "wanderer")
    open_section(tab, "File")
    for kind, suffix in formats.SUFFIXES.items():
        with tab.expect_download() as waiting:
            tab.locator(f'#downloads a[href*="as={kind}"]').click()
        saved = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(saved)
        assert saved.name == f"wanderer{suffix}"
        assert torch.equal(
            formats.read(saved).vectors["clip_l"], formats.read(path).vectors["clip_l"]
        )
    folder = tab.get_by_label("Folder", exact=True)
    folder.fill("../elsewhere")
    tab.locator("#move-embedding").click()
    expect(tab.locator("#file-answer")).to_contain_text("must not")
    folder.fill("far/away")
    tab.locator("#move-embedding").click()
    expect(tab.locator("#file-answer")).to_contain_text("Moved to far/away/")
    (full.embeddings / "far" / "away" / "wanderer.safetensors").unlink()


def test_a_card_is_put_into_either_prompt_from_its_details(tab: Page):
    open_details(tab, "toad")
    expect(tab.locator("#all-cards .card[aria-current]")).to_contain_text("toad")
    tab.get_by_role("button", name="Add to prompt", exact=True).click()
    remove = tab.get_by_role("button", name="Remove from prompt", exact=True)
    expect(remove).to_be_visible()
    expect(tab.locator(".details-said")).to_contain_text("Put toad into the prompt")
    expect(tab.locator("#all-cards .card-used")).to_contain_text("toad")
    tab.get_by_role("button", name="Add to negative").click()
    tab.get_by_role("tab", name="txt2img").click()
    expect(tab.locator("#prompt textarea")).to_have_value("toad")
    expect(tab.locator("#negative-prompt textarea")).to_have_value("toad")
    tab.get_by_role("tab", name="Embeddings").click()
    remove.click()
    expect(tab.get_by_role("button", name="Add to prompt", exact=True)).to_be_visible()
    tab.get_by_role("button", name="Close details").click()
    expect(tab.locator(".details-none")).to_be_visible()
    expect(tab.locator("#all-cards .card[aria-current]")).to_have_count(0)


def test_several_are_chosen_with_mouse_and_keys_and_moved_packed_and_deleted(
    tab: Page, full: App, tmp_path: Path
):
    for number in range(4):
        put(full.embeddings / "crowd" / f"guest-{number}.safetensors")
    (full.embeddings / "crowd" / "guest-0.json").write_text("{}")
    tab.locator("#all-cards .cards-search").fill("guest")
    guests, chosen = tab.locator("#all-cards .card"), tab.locator("#all-cards .chosen-count")
    expect(guests).to_have_count(4)
    guests.nth(0).click(modifiers=["Control"])
    guests.nth(2).click(modifiers=["Shift"])
    expect(chosen).to_have_text("3 selected")
    guests.nth(0).focus()
    tab.keyboard.press("ArrowRight")
    expect(guests.nth(1)).to_be_focused()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    expect(chosen).to_have_text("2 selected")
    tab.keyboard.press("Escape")
    expect(chosen).to_be_hidden()
    guests.nth(3).focus()
    tab.keyboard.press("Control+a")
    expect(chosen).to_have_text("4 selected")
    bar = tab.locator("#all-cards .cards-chosen")
    answer = tab.locator("#all-cards .chosen-answer")
    packed = {}
    for kind in ("", "a1111"):
        bar.locator(".chosen-format").select_option(kind)
        with tab.expect_download() as waiting:
            bar.get_by_role("button", name="Export as zip").click()
        waiting.value.save_as(tmp_path / "packed.zip")
        packed[kind] = zipfile.ZipFile(tmp_path / "packed.zip").namelist()
    assert len(packed[""]) == 5 and "crowd/guest-0.json" in packed[""]
    assert packed["a1111"] == [f"crowd/guest-{number}.pt" for number in range(4)]
    bar.locator(".chosen-folder").fill("party")
    bar.get_by_role("button", name="Move").click()
    expect(answer).to_have_text("Moved 4 embeddings to party.")
    assert len(list((full.embeddings / "party").glob("*.safetensors"))) == 4
    expect(bar).to_be_hidden()
    guests.nth(0).focus()
    tab.keyboard.press("Control+a")
    bar.get_by_role("button", name="Delete").click()
    expect(answer).to_contain_text("Moved 4 embeddings to trash")
    expect(guests).to_have_count(0)
    tab.locator("#all-cards .chosen-undo").click()
    expect(answer).to_have_text("Restored 4 embeddings.")
    expect(guests).to_have_count(4)
    shutil.rmtree(full.embeddings / "party")


def test_files_that_are_dropped_on_the_cards_are_added(tab: Page, full: App, tmp_path: Path):
    data = put(tmp_path / "dropped.safetensors").read_bytes()
    drop = """(grid, [name, bytes]) => {
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(bytes)], name));
        const event = new DragEvent("drop", { bubbles: true, dataTransfer: files });
        grid.dispatchEvent(event);
    }"""
    grid = tab.locator("#all-cards .cards-grid")
    grid.evaluate(drop, ["dropped.safetensors", list(data)])
    expect(tab.locator("#add-answer")).to_contain_text("Added dropped")
    tab.locator("#all-cards .cards-search").fill("dropped")
    expect(tab.locator("#all-cards .card-name")).to_have_text(["dropped"])
    (full.embeddings / "dropped.safetensors").unlink()


@pytest.mark.parametrize("width", [1440, 390])
def test_the_details_are_in_view_wherever_the_card_lies(
    full: App, open_page: Callable[..., Page], width: int
):
    page = open_page(of=full, width=width, height=844)
    page.get_by_role("tab", name="Embeddings").click()
    grid = page.locator("#all-cards .cards-grid")
    expect(page.locator("#all-cards .card").first).to_be_visible()
    grid.scroll_into_view_if_needed()
    grid.evaluate("grid => { grid.scrollTop = grid.scrollHeight; }")
    page.locator("#all-cards .card", has_text="toad").click()
    for part in (".details-name", ".details-actions", "#details-description"):
        expect(page.locator(part)).to_be_in_viewport(ratio=0.9)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_the_focus_goes_into_the_sheet_and_back(
    full: App, open_page: Callable[..., Page]
):
    page = open_page(of=full, width=390, height=844)
    page.get_by_role("tab", name="Embeddings").click()
    page.locator("#all-cards .card").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".details-close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".details-head")).to_be_hidden()
    expect(page.locator("#all-cards .card").first).to_be_focused()


@pytest.mark.parametrize("path", ["/etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "nothing"])
def test_no_other_file_can_be_downloaded(full: App, path: str):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{full.url}/embedding-files?card={path}&as=a1111")
