"""Moving, previews, exports and the trash: what people do to embedding files from the page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.embeddings.embedding_parts import put
from webui.embeddings import formats, library
from webui.embeddings.library import EmbeddingLibrary
from webui.errors import AppError

Open = Callable[..., EmbeddingLibrary]


def test_a_file_moves_to_a_folder_with_its_sidecars_and_keeps_its_name(
    folder: Path, open_library: Open
):
    put(folder / "toad.pt")
    (folder / "toad.json").write_text("{}")
    opened = open_library(folder)
    card = opened.move("toad", "animals/small")
    assert card.folder == "animals/small"
    assert (folder / "animals" / "small" / "toad.json").exists()
    assert opened.get("toad") is not None
    assert opened.move("toad", "").folder == ""


@pytest.mark.parametrize(
    "where", ["..", "../elsewhere", "a/../../b", ".trash", "a/.hidden", "a\\b"]
)
def test_a_file_cannot_be_moved_out_or_hidden(folder: Path, open_library: Open, where: str):
    put(folder / "toad.pt")
    opened = open_library(folder)
    with pytest.raises(AppError):
        opened.move("toad", where)
    assert (folder / "toad.pt").exists()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["cache", "embeddings"]


def test_a_file_cannot_be_moved_through_a_link_that_leads_out(
    folder: Path, tmp_path: Path, open_library: Open
):
    put(folder / "toad.pt")
    (tmp_path / "outside").mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    opened = open_library(folder)
    with pytest.raises(AppError):
        opened.move("toad", "link")
    assert not list((tmp_path / "outside").iterdir())


def test_moving_does_not_overwrite(folder: Path, open_library: Open):
    put(folder / "toad.pt")
    (folder / "a").mkdir()
    put(folder / "a" / "toad.pt")
    opened = open_library(folder)
    before = (folder / "a" / "toad.pt").read_bytes()
    with pytest.raises(AppError):
        opened.move("toad", "a", folder / "toad.pt")
    assert (folder / "a" / "toad.pt").read_bytes() == before
    assert (folder / "toad.pt").exists()


def test_a_preview_is_set_shown_and_replaced(folder: Path, open_library: Open):
    put(folder / "toad.pt")
    opened = open_library(folder)
    opened.set_preview("toad", Image.new("RGB", (8, 8), "red"))
    preview, version = opened.card("toad").preview, opened.version
    assert preview == folder / "toad.preview.png"
    opened.set_preview("toad", Image.new("RGBA", (8, 8), "blue"))
    assert opened.card("toad").preview == preview
    assert opened.version > version
    assert Image.open(preview).getpixel((0, 0)) == (0, 0, 255)


def test_an_embedding_that_is_a_picture_is_not_overwritten_by_a_preview(
    folder: Path, tmp_path: Path, open_library: Open
):
    put(tmp_path / "toad.pt")
    formats.write(formats.read(tmp_path / "toad.pt"), folder / "toad.png", "picture")
    before = (folder / "toad.png").read_bytes()
    opened = open_library(folder)
    with pytest.raises(AppError, match="image itself"):
        opened.set_preview("toad", Image.new("RGB", (8, 8)))
    assert (folder / "toad.png").read_bytes() == before


@pytest.mark.parametrize("kind", formats.SUFFIXES)
def test_an_embedding_is_exported_exactly_in_every_format(
    folder: Path, tmp_path: Path, open_library: Open, kind: formats.Kind
):
    put(folder / "toad.pt", count=3)
    opened = open_library(folder)
    out = tmp_path / f"out{formats.SUFFIXES[kind]}"
    out.write_bytes(opened.export("toad", kind))
    vectors = formats.read(out).vectors
    for key, tensor in opened.get("toad").vectors.items():
        assert torch.equal(vectors[key], tensor)


def test_an_unreadable_file_is_not_exported(folder: Path, open_library: Open):
    (folder / "toad.pt").write_bytes(b"nothing")
    opened = open_library(folder)
    with pytest.raises(AppError):
        opened.export("toad", "a1111")


def test_the_trash_is_emptied_after_a_month(folder: Path, open_library: Open, monkeypatch):
    put(folder / "old.pt")
    opened = open_library(folder)
    token = opened.delete("old")
    opened.stop()
    open_library(folder).stop()
    assert (folder / ".trash" / token / "old.pt").exists()
    monkeypatch.setattr(library, "TRASH_KEPT_S", 0.0)
    time.sleep(0.01)
    open_library(folder)
    assert not os.path.lexists(folder / ".trash" / token)
