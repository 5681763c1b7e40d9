"""The Embeddings tab under people's hands: thousands of cards, folders, and all about one file."""

from __future__ import annotations

import urllib.error
import urllib.request
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
    page.locator("#all-cards .card-entry", has_text=name).locator(".card-more").click()
    expect(page.locator("#details")).to_contain_text(name)


def open_section(page: Page, title: str) -> None:
    page.locator("#details-form").get_by_role("button", name=f"{title} ▼", exact=True).click()


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
    expect(tab.locator("#details")).to_contain_text("1 image")
    open_section(tab, "Used in")
    expect(tab.locator("#details-uses img").first).to_be_visible()
    open_section(tab, "Vectors")
    expect(tab.locator("#details-vectors")).to_contain_text("Nearest words")
    open_section(tab, "Metadata")
    expect(tab.locator("#details-inside")).to_contain_text("<b>mud</b>")


def test_tags_are_kept_and_found(tab: Page, full: App):
    open_details(tab, "newt")
    tab.locator("#details-tags input").fill("swamp, green , swamp")
    tab.locator("#save-notes").click()
    expect(tab.locator("#details-answer")).to_contain_text("Notes saved")
    tab.locator("#all-cards .cards-search").fill("swamp")
    expect(tab.locator("#all-cards .card-name")).to_have_text(["newt"])


def test_notes_that_were_not_saved_are_there_when_their_card_is_opened_again(tab: Page, full: App):
    notes = tab.locator("#details-notes textarea")
    open_details(tab, "portrait")
    notes.fill("written in a hurry")
    open_details(tab, "toad")
    expect(notes).to_have_value("")
    open_details(tab, "portrait")
    expect(notes).to_have_value("written in a hurry")
    expect(tab.locator("#details-answer")).to_contain_text("not saved yet")
    tab.locator("#revert-notes").click()
    expect(notes).to_have_value("")
    notes.fill("slower")
    tab.locator("#save-notes").click()
    expect(tab.locator("#details-answer")).to_contain_text("Notes saved")
    open_details(tab, "toad")
    open_details(tab, "portrait")
    expect(notes).to_have_value("slower")
    expect(tab.locator("#details-answer")).to_have_text("")
    (full.embeddings / "portrait.json").unlink()


def test_notes_of_a_shadowed_card_are_its_own(tab: Page, full: App):
    other = put(full.embeddings / "far" / "toad.safetensors", metadata={"recipe": "other mud"})
    entry = tab.locator("#all-cards .card-entry", has_text="Another file of the same name")
    tab.locator("#all-cards .cards-search").fill("toad")
    entry.locator(".card-more").click()
    expect(tab.locator("#details")).to_contain_text("far/toad.safetensors")
    tab.locator("#details-notes textarea").fill("the second toad")
    tab.locator("#save-notes").click()
    expect(tab.locator("#details-answer")).to_contain_text("Notes saved")
    assert (full.embeddings / "far" / "toad.json").exists()
    assert not (full.embeddings / "animals" / "toad.json").exists()
    open_section(tab, "Metadata")
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
    expect(tab.locator("#details-answer")).to_contain_text("must not")
    folder.fill("far/away")
    tab.locator("#move-embedding").click()
    expect(tab.locator("#details-answer")).to_contain_text("Moved to far/away/")
    (full.embeddings / "far" / "away" / "wanderer.safetensors").unlink()


@pytest.mark.parametrize("path", ["/etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "nothing"])
def test_no_other_file_can_be_downloaded(full: App, path: str):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{full.url}/embedding-files?card={path}&as=a1111")
