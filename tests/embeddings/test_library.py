"""The library is always what the folders hold: at start, while running, and after a restart."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.embeddings.embedding_parts import embedding, put, rows, until
from webui.embeddings import formats, intake, watcher
from webui.embeddings.embedding import Embedding
from webui.embeddings.library import EmbeddingLibrary, Notes
from webui.errors import AppError

Open = Callable[..., EmbeddingLibrary]


def test_each_file_is_a_card_and_a_name(folder: Path, open_library: Open):
    put(folder / "Cat.pt")
    put(folder / "sub" / "dog.safetensors", width=1024)
    library = open_library(folder)
    cat, dog = library.snapshot().cards
    assert (cat.name, cat.folder, cat.vectors, cat.format) == ("Cat", "", 2, "A1111 .pt")
    assert (dog.name, dog.folder, dog.widths) == ("dog", "sub", {"clip_h": 1024})
    assert cat.size_bytes == (folder / "Cat.pt").stat().st_size
    assert set(library.names()) == {"Cat", "dog"}
    assert library.card("CAT") == cat and library.card("unknown") is None


@pytest.mark.parametrize(("suffix", "kind"), [(".pt", "a1111"), (".bin", "diffusers")])
def test_the_files_name_is_what_calls_it_whatever_name_is_inside(
    folder: Path, open_library: Open, suffix: str, kind: formats.Kind
):
    formats.write(embedding("another"), folder / f"my_mug{suffix}", kind)
    library = open_library(folder)
    assert set(library.names()) == {"my_mug"}
    assert library.card("my_mug").inner_name in ("inner cat", "another")
    assert library.get("inner cat") is None is library.get("another")


def test_what_was_made_for_an_earlier_starter_model_is_refused(folder: Path, open_library: Open):
    put(folder / "mine.pt", width=128)
    earlier = replace(embedding(clip_l=rows(width=128)), trained_on_hash="e620bcf532")
    formats.write(earlier, folder / "toadstool.pt", "a1111")
    library = open_library(folder)
    assert library.card("mine").problem is None
    assert "earlier starter model" in library.card("toadstool").problem


def test_vectors_are_read_at_first_use_and_then_kept(folder: Path, open_library: Open):
    put(folder / "cat.pt", seed=3)
    library = open_library(folder)
    found = library.get("CAT")
    assert torch.equal(found.vectors["clip_l"], rows(seed=3))
    assert found.content_hash == library.card("cat").content_hash
    assert library.get("cat") is found
    assert library.get("unknown") is None


def test_only_what_can_hold_vectors_is_a_card(folder: Path, open_library: Open):
    put(folder / "cat.pt")
    for name in ("README.md", ".gitkeep", "cat.txt", "cat.json", "x.tmp", ".hidden.pt", "a.pt.tmp"):
        (folder / name).write_text("text")
    put(folder / ".trash" / "0" / "old.pt")
    from PIL import Image

    for name in ("cat.png", "cat.preview.png", "lonely.preview.png", "holiday.png", "b.jpg"):
        Image.new("RGB", (8, 8), "red").save(folder / name)
    library = open_library(folder)
    [card] = library.snapshot().cards
    assert card.name == "cat" and card.preview == folder / "cat.png"


def test_a_picture_embedding_is_its_own_preview(folder: Path, open_library: Open):
    put(folder / "style.png")
    put(folder / "web.WEBP")
    library = open_library(folder)
    assert set(library.names()) == {"style", "web"}
    assert library.card("style").preview == folder / "style.png"


def test_a_picture_beside_a_file_of_vectors_is_its_preview_even_with_data_inside(
    folder: Path, open_library: Open
):
    put(folder / "cat.pt")
    put(folder / "cat.png")
    library = open_library(folder)
    assert [card.path.name for card in library.snapshot().cards] == ["cat.pt"]
    (folder / "cat.pt").unlink()
    assert until(lambda: library.card("cat") and library.card("cat").path.name == "cat.png")


def test_files_that_cannot_be_used_stay_visible_with_the_reason(folder: Path, open_library: Open):
    (folder / "empty.pt").write_bytes(b"")
    (folder / "page.safetensors").write_text("<!DOCTYPE html>")
    formats.write(
        embedding("nan", clip_l=torch.full((1, 768), float("nan"))), folder / "nan.pt", "a1111"
    )
    library = open_library(folder)
    problems = {card.name: card.problem for card in library.snapshot().cards}
    assert "empty" in problems["empty"] and "web page" in problems["page"]
    assert "NaN" in problems["nan"]
    assert not library.names() and library.get("nan") is None
    assert not any(card.usable for card in library.snapshot().cards)


def test_a_name_that_is_no_text_is_shown_and_not_used(folder: Path, open_library: Open):
    put(folder / "cat.pt").rename(os.fsdecode(os.fsencode(folder) + b"/bad\xff.pt"))
    put(folder / "two\nlines.pt")
    library = open_library(folder)
    assert not library.names()
    assert all("file name" in card.problem for card in library.snapshot().cards)
    json.dumps([[card.name, card.folder] for card in library.snapshot().cards]).encode()


def test_the_file_nearer_the_top_has_the_name(folder: Path, tmp_path: Path, open_library: Open):
    put(folder / "deep" / "er" / "cat.pt", seed=1)
    put(folder / "deep" / "CAT.safetensors", seed=2)
    put(tmp_path / "extra" / "sub" / "cat.bin", seed=3)
    library = open_library(folder, tmp_path / "extra")
    winner, *others = library.snapshot().cards
    assert winner.path == folder / "deep" / "CAT.safetensors"
    assert all(card.shadowed_by == os.path.join("deep", "CAT.safetensors") for card in others)
    assert torch.equal(library.get("cat").vectors["clip_l"], rows(seed=2))
    winner.path.unlink()
    assert until(lambda: library.card("cat").path.name == "cat.bin")


def test_a_broken_file_does_not_take_the_name_from_a_good_one(folder: Path, open_library: Open):
    (folder / "cat.pt").write_bytes(b"")
    put(folder / "sub" / "cat.pt")
    library = open_library(folder)
    assert library.get("cat") is not None
    assert [card.problem is None for card in library.snapshot().cards] == [True, False]


def test_the_two_files_of_diffusers_for_sdxl_make_one_embedding(folder: Path, open_library: Open):
    put(folder / "learned_embeds.safetensors", seed=1)
    put(folder / "learned_embeds_2.safetensors", seed=2, width=1280)
    library = open_library(folder)
    [card] = library.snapshot().cards
    assert card.widths == {"clip_l": 768, "clip_g": 1280} and card.vectors == 2
    found = library.get("learned_embeds")
    assert torch.equal(found.vectors["clip_g"], rows(2, 1280, 2))
    assert found.content_hash == card.content_hash
    (folder / "learned_embeds_2.safetensors").unlink()
    assert until(lambda: library.card("learned_embeds").widths == {"clip_l": 768})
    put(folder / "learned_embeds_2.safetensors", width=1280, count=3)
    assert until(lambda: len(library.snapshot().cards) == 2)


def test_after_a_restart_unchanged_files_are_not_read_again(
    folder: Path, open_library: Open, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a.pt", "b.safetensors", "learned_embeds.pt"):
        put(folder / name)
    put(folder / "learned_embeds_2.pt", width=1280)
    (folder / "a.json").write_text('{"notes": "good"}')
    (folder / "broken.pt").write_bytes(b"\x80\x02oops")
    first = open_library(folder)
    before = first.snapshot().cards
    first.stop()
    read: list[str] = []
    whole = formats.told

    def counted(path: str, *options: bool) -> object:
        read.append(Path(path).name)
        return whole(path, *options)

    monkeypatch.setattr(formats, "told", counted)
    put(folder / "new.pt")
    second = open_library(folder)
    assert [card for card in second.snapshot().cards if card.name != "new"] == list(before)
    assert read == ["new.pt"]


def test_a_damaged_index_is_made_again(folder: Path, tmp_path: Path, open_library: Open):
    put(folder / "cat.pt")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "index.sqlite").write_bytes(b"this is no database" * 100)
    assert set(open_library(folder).names()) == {"cat"}


def test_without_waiting_the_cards_appear_in_the_background(folder: Path, open_library: Open):
    put(folder / "cat.pt")
    library = open_library(folder, wait=False)
    assert until(lambda: library.get("cat"))


# Changes while it runs


def test_a_copied_a_moved_and_an_installed_file_are_usable_at_once(
    folder: Path, tmp_path: Path, open_library: Open
):
    library = open_library(folder)
    outside = put(tmp_path / "x.pt")
    shutil.copy2(outside, folder / "copied.pt")
    assert until(lambda: library.get("copied"))
    os.replace(outside, folder / "moved.pt")
    assert until(lambda: library.get("moved"))
    os.rename(folder / "moved.pt", folder / "renamed.pt")
    assert until(lambda: library.get("renamed") and not library.get("moved"))
    library.install(embedding("installed"), {"recipe": "r"})
    assert library.get("installed") is not None
    assert library.metadata("installed")["recipe"] == "r"


def test_an_overwritten_file_gives_its_new_vectors(folder: Path, tmp_path: Path, open_library):
    put(folder / "cat.pt", seed=1)
    library = open_library(folder)
    held = library.get("cat")
    shutil.copyfile(put(tmp_path / "cat.pt", seed=2), folder / "cat.pt")
    new = rows(seed=2)
    assert until(lambda: torch.equal(library.get("cat").vectors["clip_l"], new))
    assert torch.equal(held.vectors["clip_l"], rows(seed=1))


def test_an_older_file_put_back_with_its_old_date_is_noticed(
    folder: Path, tmp_path: Path, open_library: Open
):
    put(folder / "cat.pt", seed=1)
    os.utime(folder / "cat.pt", (10**9, 10**9))
    library = open_library(folder)
    library.get("cat")
    put(tmp_path / "cat.pt", seed=2)
    os.utime(tmp_path / "cat.pt", (10**9, 10**9))
    shutil.copy2(tmp_path / "cat.pt", folder / "cat.pt")
    assert until(lambda: torch.equal(library.get("cat").vectors["clip_l"], rows(seed=2)))


def test_the_version_grows_with_real_changes_only(folder: Path, open_library: Open):
    put(folder / "cat.pt")
    library = open_library(folder)
    before, snapshot = library.version, library.snapshot()
    library.refresh()
    library.get("cat")
    (folder / "README.md").write_text("text")
    time.sleep(0.4)
    assert library.version == before and library.snapshot() is snapshot
    (folder / "cat.pt").unlink()
    assert until(lambda: library.version > before)
    assert library.snapshot().cards == () and snapshot.cards[0].name == "cat"


def test_looking_again_takes_in_a_file_whose_closing_was_not_told_yet(
    folder: Path, open_library: Open
):
    library = open_library(folder)
    put(folder / "late.pt")
    told_late = str(folder / "late.pt")
    library._watcher._take_event("modified", [told_late], are_folders=False)
    library.refresh()
    assert "late" in library.names()


def test_looking_again_waits_for_what_the_watcher_is_just_reading(
    folder: Path, open_library: Open, monkeypatch: pytest.MonkeyPatch
):
    library = open_library(folder)
    taken_in = threading.Event()
    learn = library._intake.learn

    def slow(*arguments: object, **options: object) -> list[str]:
        if threading.current_thread().name == "embedding-watcher":
            taken_in.set()
            time.sleep(0.3)
        return learn(*arguments, **options)

    monkeypatch.setattr(library._intake, "learn", slow)
    put(folder / "slow.pt")
    assert taken_in.wait(60)
    library.refresh()
    assert "slow" in library.names()


def test_folders_may_be_made_renamed_filled_and_removed(folder: Path, tmp_path: Path, open_library):
    library = open_library(folder)
    put(folder / "a" / "b" / "deep.pt")
    assert until(lambda: library.get("deep"))
    (folder / "a").rename(folder / "z")
    assert until(lambda: library.card("deep").folder == os.path.join("z", "b"))
    put(tmp_path / "ready" / "inside.pt")
    (tmp_path / "ready").rename(folder / "moved-in")
    assert until(lambda: library.get("inside"))
    shutil.rmtree(folder / "z")
    assert until(lambda: library.card("deep") is None)


def test_the_whole_folder_may_be_removed_and_made_again(folder: Path, open_library: Open):
    put(folder / "cat.pt")
    library = open_library(folder)
    shutil.rmtree(folder)
    assert until(lambda: not library.snapshot().cards)
    put(folder / "again.pt")
    assert until(lambda: library.get("again"))
    put(folder / "later.pt")
    assert until(lambda: library.get("later"))


def test_a_linked_folder_is_searched_watched_and_left_alone(
    folder: Path, tmp_path: Path, open_library: Open
):
    put(tmp_path / "elsewhere" / "far.pt")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    library = open_library(folder)
    assert library.get("far") is not None
    put(tmp_path / "elsewhere" / "further.pt")
    assert until(lambda: library.get("further"))
    for change in (library.delete, lambda name: library.rename(name, "new")):
        with pytest.raises(AppError, match="linked folder"):
            change("far")
    with pytest.raises(AppError, match="linked folder"):
        library.save_notes("far", Notes(description="x"))
    assert (tmp_path / "elsewhere" / "far.pt").exists()


def test_the_folder_itself_may_be_a_link_and_a_folder_may_be_linked_twice(
    folder: Path, tmp_path: Path, open_library: Open
):
    put(folder / "sub" / "cat.pt")
    (folder / "alias").symlink_to(folder / "sub")
    (tmp_path / "link").symlink_to(folder)
    library = open_library(tmp_path / "link")
    assert [card.folder for card in library.snapshot().cards] == ["sub"]
    put(folder / "top.pt")
    put(folder / "alias" / "dog.pt")
    assert until(lambda: library.get("top") and library.get("dog"))
    assert library.card("dog").path == tmp_path / "link" / "sub" / "dog.pt"
    assert all(card.shadowed_by is None for card in library.snapshot().cards)
    library.delete("dog")
    assert not (folder / "sub" / "dog.pt").exists()


def test_a_slowly_written_file_is_never_read_half(folder: Path, tmp_path: Path, open_library: Open):
    data = put(tmp_path / "x.safetensors", count=50).read_bytes()
    library = open_library(folder)
    seen = []
    with open(folder / "slow.safetensors", "wb") as file:
        for start in range(0, len(data), len(data) // 8 + 1):
            file.write(data[start : start + len(data) // 8 + 1])
            file.flush()
            time.sleep(0.15)
            seen.append(library.card("slow"))
    assert seen == [None] * len(seen)
    assert until(lambda: library.get("slow"))


def test_a_file_that_lies_there_half_is_shown_with_the_reason_and_then_becomes_whole(
    folder: Path, tmp_path: Path, open_library: Open
):
    data = put(tmp_path / "x.pt").read_bytes()
    library = open_library(folder)
    (folder / "half.pt").write_bytes(data[:5000])
    assert until(lambda: library.card("half") and "cut off" in library.card("half").problem)
    with open(folder / "half.pt", "ab") as file:
        file.write(data[5000:])
    assert until(lambda: library.get("half"))


def test_three_hundred_files_at_once_all_arrive(folder: Path, tmp_path: Path, open_library: Open):
    source = put(tmp_path / "x.safetensors", count=1)
    library = open_library(folder)
    for number in range(300):
        shutil.copyfile(source, folder / f"n{number}.safetensors")
    assert until(lambda: len(library.names()) == 300)


def test_a_folder_without_events_is_looked_at_regularly(
    folder: Path, open_library: Open, monkeypatch: pytest.MonkeyPatch
):
    from webui.embeddings import events

    monkeypatch.setattr(events, "gives_no_events", lambda folder: True)
    monkeypatch.setattr(watcher, "POLL_S", 0.2)
    library = open_library(folder)
    put(folder / "cat.pt")
    assert until(lambda: library.get("cat"))
    (folder / "cat.pt").unlink()
    assert until(lambda: library.card("cat") is None)


def test_the_watching_goes_on_after_an_unexpected_fault(
    folder: Path, open_library: Open, monkeypatch: pytest.MonkeyPatch, caplog
):
    monkeypatch.setattr(watcher, "RETRY_AFTER_FAULT_S", 0.3)
    library = open_library(folder)

    def fail(path: Path) -> None:
        raise RuntimeError("a fault that nobody foresaw")

    with caplog.at_level(logging.ERROR):
        with monkeypatch.context() as patch:
            patch.setattr(formats, "told", fail)
            put(folder / "first.pt")
            assert until(lambda: library.card("first"))
            assert "unexpected error" in library.card("first").problem
        with monkeypatch.context() as patch:
            patch.setattr(intake, "look", fail)
            put(folder / "second.pt")
            assert until(lambda: "goes on" in caplog.text)
    put(folder / "third.pt")
    assert until(lambda: library.get("second") and library.get("third"))


def test_many_threads_may_ask_while_files_come_and_go(folder: Path, open_library: Open):
    library = open_library(folder)
    faults: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                for name in library.names():
                    library.get(name)
                library.snapshot()
                library.refresh()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(30):
        put(folder / f"n{number % 5}.safetensors", seed=number)
        (folder / f"n{number % 3}.safetensors").unlink(missing_ok=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
    expected = {path.stem for path in folder.glob("*.safetensors")}
    assert until(lambda: set(library.names()) == expected)


# Changes that people ask for


def test_an_upload_is_inspected_first_and_named_by_its_content(
    folder: Path, tmp_path: Path, open_library: Open
):
    library = open_library(folder)
    card = library.add_file(put(tmp_path / "upload.pt"), "My Cat")
    assert card.name == "My Cat" and card.path == folder / "My Cat.pt" and card.usable
    os.rename(put(tmp_path / "x.safetensors"), tmp_path / "wrong.pt")
    assert library.add_file(tmp_path / "wrong.pt", "b").path.name == "b.safetensors"
    (tmp_path / "bad.pt").write_text("text")
    with pytest.raises(AppError, match="text file"):
        library.add_file(tmp_path / "bad.pt", "c")
    with pytest.raises(AppError, match="already"):
        library.add_file(tmp_path / "upload.pt", "my cat")
    assert sorted(path.name for path in folder.iterdir()) == ["My Cat.pt", "b.safetensors"]


BAD_NAMES = ["", " ", "../x", "a/b", "a\\b", "/etc/x", ".hidden", "a\0b", "a\nb", "x" * 101, "nul"]


@pytest.mark.parametrize("name", [*BAD_NAMES, "..", "é" * 101, "a ", "a:b"])
def test_names_that_could_lead_anywhere_are_refused(
    folder: Path, tmp_path: Path, open_library: Open, name: str
):
    put(folder / "cat.pt")
    library = open_library(folder)
    before = sorted(tmp_path.rglob("*.pt"))
    for change in (
        lambda: library.add_file(folder / "cat.pt", name),
        lambda: library.install(embedding(name)),
        lambda: library.install(embedding(name), overwrite=True),
        lambda: library.rename("cat", name),
    ):
        with pytest.raises(AppError):
            change()
    assert sorted(tmp_path.rglob("*.pt")) == before


def test_names_with_signs_of_the_prompt_language_are_allowed(folder: Path, open_library: Open):
    library = open_library(folder)
    for name in ("a+b", "my (cat)", "v1.5", "猫", "<cat>"[1:4], "{{x}}"):
        library.install(embedding(name))
        assert library.get(name) is not None
    library.stop()
    assert "my (cat)" in open_library(folder).names()


def test_installing_does_not_overwrite_unless_asked(folder: Path, open_library: Open):
    library = open_library(folder)
    library.install(embedding("Cat", clip_l=rows(seed=1)))
    with pytest.raises(AppError, match="already"):
        library.install(embedding("cat", clip_l=rows(seed=2)))
    assert library.install(embedding("cat", clip_l=rows(seed=2)), overwrite=True).stem == "Cat"
    assert torch.equal(library.get("cat").vectors["clip_l"], rows(seed=2))


def test_deleting_moves_to_the_trash_with_sidecars_and_can_be_undone(
    folder: Path, open_library: Open
):
    put(folder / "sub" / "cat.pt", seed=1)
    (folder / "sub" / "cat.json").write_text('{"notes": "mine"}')
    library = open_library(folder)
    token = library.delete("cat")
    assert library.card("cat") is None and not (folder / "sub" / "cat.json").exists()
    library.undo_delete(token)
    assert library.get("cat") is not None and library.card("cat").notes.notes == "mine"
    for bad in (token, "../../etc", "", "0" * 16):
        with pytest.raises(AppError):
            library.undo_delete(bad)


def test_undoing_does_not_overwrite_what_came_meanwhile(folder: Path, open_library: Open):
    put(folder / "cat.pt", seed=1)
    library = open_library(folder)
    token = library.delete("cat")
    put(folder / "cat.pt", seed=2)
    with pytest.raises(AppError, match="already"):
        library.undo_delete(token)
    library.refresh()
    assert torch.equal(library.get("cat").vectors["clip_l"], rows(seed=2))


def test_one_of_several_files_of_a_name_can_be_deleted(folder: Path, open_library: Open):
    put(folder / "cat.safetensors", seed=1)
    put(folder / "cat.pt", seed=2)
    (folder / "cat.txt").write_text("a cat")
    library = open_library(folder)
    library.delete("cat", folder / "cat.pt")
    [card] = library.snapshot().cards
    assert card.path.name == "cat.safetensors" and card.notes.description == "a cat"


def test_renaming_takes_the_sidecars_along(folder: Path, open_library: Open):
    put(folder / "sub" / "cat.pt")
    put(folder / "other.pt")
    for name in ("cat.json", "cat.preview.png", "cat.description.txt"):
        (folder / "sub" / name).write_text("{}")
    library = open_library(folder)
    card = library.rename("cat", "lynx")
    assert card.path == folder / "sub" / "lynx.pt" and library.card("cat") is None
    assert card.preview == folder / "sub" / "lynx.preview.png"
    with pytest.raises(AppError, match="already"):
        library.rename("lynx", "OTHER")
    assert library.rename("lynx", "Lynx").name == "Lynx"


def test_what_civitai_says_is_remembered_and_taken_along(folder: Path, open_library: Open):
    put(folder / "cat.pt")
    (folder / "cat.civitai.info").write_text('{"modelId": 7, "trainedWords": ["mjau"]}')
    open_library(folder).stop()
    library = open_library(folder)
    assert library.card("cat").notes.published.words == ("mjau",)
    library.save_notes("cat", Notes(description="a cat"))
    assert library.rename("cat", "dog").notes.published.model_id == 7
    assert (folder / "dog.civitai.info").is_file() and not (folder / "cat.civitai.info").exists()


def test_a_card_that_another_of_its_name_shadows_has_notes_and_text_of_its_own(
    folder: Path, open_library: Open
):
    put(folder / "cat.pt")
    (folder / "cat.json").write_text('{"notes": "the first"}')
    other = folder / "sub" / "cat.safetensors"
    other.parent.mkdir()
    made = Embedding("cat", {"clip_l": torch.ones(1, 768)})
    formats.write(made, other, "safetensors", {"recipe": "the other"})
    library = open_library(folder)
    shadowed = library.card_at(str(other))
    assert shadowed.shadowed_by == "cat.pt"
    library.save_notes("cat", Notes(notes="the second"), other)
    assert library.card_at(str(other)).notes.notes == "the second"
    assert library.card("cat").notes.notes == "the first"
    assert library.metadata("cat", other)["recipe"] == "the other"
    assert library.card_at(str(folder / "cat.json")) is None


def test_notes_are_saved_shown_and_kept_for_other_programs(folder: Path, open_library: Open):
    put(folder / "cat.pt")
    (folder / "cat.json").write_text('{"description": "old", "sd version": "SD1"}')
    library = open_library(folder)
    assert library.card("cat").notes.description == "old"
    notes = Notes("a cat", "likes fish", 0.8, "negative", True, ("animal", "<b>"))
    library.save_notes("cat", notes)
    assert library.card("cat").notes == notes
    written = json.loads((folder / "cat.json").read_text())
    assert written["sd version"] == "SD1" and written["preferred weight"] == 0.8
    (folder / "cat.json").write_text('{"notes": "changed elsewhere"}')
    assert until(lambda: library.card("cat").notes == Notes(notes="changed elsewhere"))
