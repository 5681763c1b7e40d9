"""Files are written whole or not at all, and paths stay inside their folder."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from tests.hostile.faulty_disks import FullDisk
from webui import files
from webui.errors import AppError
from webui.files import (
    append_whole,
    contained,
    finish_moves,
    move,
    move_all,
    remove_older,
    replacing,
    room_on_disk,
    sha256,
    write_whole,
)


def test_a_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "deep" / "a.txt"
    write_whole(path, "old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("power cut")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", ".", ""])
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, name: str):
    with pytest.raises(AppError, match="outside"):
        contained(tmp_path, name)


def test_a_link_that_leads_outside_is_refused(tmp_path: Path):
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(AppError, match="outside"):
        contained(folder, "link/secret")


def test_a_name_inside_is_resolved(tmp_path: Path):
    assert contained(tmp_path, "sub/a.pt") == (tmp_path / "sub" / "a.pt").resolve()


def test_sha256_is_that_of_the_bytes(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 3_000_000)
    assert sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_only_what_is_old_is_removed(tmp_path: Path):
    for name in ("a/old.png", "b/old.png", "b/new.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        if "old" in name:
            os.utime(path, (1, 1))
    remove_older(tmp_path, age_s=3600)
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["b", "new.png"]


def test_a_full_disk_is_said_in_words():
    with pytest.raises(AppError, match="The disk is full"), room_on_disk():
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), room_on_disk():
        raise FileNotFoundError


def test_moves_that_were_broken_off_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in "ab":
        (tmp_path / name).write_text(name)
    moves = [(tmp_path / "a", tmp_path / "x" / "a"), (tmp_path / "b", tmp_path / "x" / "b")]

    class Killed(BaseException):
        """Stands for the end of the program."""

    replace = files.disk.replace

    def once(path: Path, target: Path) -> None:
        if path.name == "b":
            raise Killed
        replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(files.disk, "replace", once)
        move_all(moves, tmp_path / "note")
    assert (tmp_path / "x" / "a").exists() and (tmp_path / "b").exists()
    finish_moves(tmp_path / "note")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "x"]
    finish_moves(tmp_path / "note")


@pytest.mark.parametrize(
    "noted", ['[["../out", "in"]]', '[["in", "/tmp/out"]]', "[[1, 2]]", "no json", '{"a": 1}', "5"]
)
def test_a_note_of_moves_that_a_stranger_wrote_moves_nothing_out_or_in(tmp_path: Path, noted: str):
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "out").write_text("kept")
    (home / "note").write_text(noted)
    finish_moves(home / "note")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["home", "out"]


def test_what_is_added_to_a_file_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "log"
    append_whole(path, b"one\n")
    monkeypatch.setattr(files, "disk", FullDisk(0))
    for log in (path, tmp_path / "new"):
        with pytest.raises(OSError):
            append_whole(log, b"two\n")
    assert [(log.name, log.read_bytes()) for log in tmp_path.iterdir()] == [("log", b"one\n")]


class Mounts(files.Disk):
    """A disk whose folder ``there`` is another disk."""

    def replace(self, path: Path, target: Path) -> None:
        if ("there" in path.parts) != ("there" in target.parts):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        super().replace(path, target)


def test_files_and_folders_move_to_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "disk", Mounts())
    for name in ("run/data/a.png", "run/run.json", "one.png", "two.png"):
        write_whole(tmp_path / name, name)
    move(tmp_path / "run", tmp_path / "there" / "run")
    names = [tmp_path / "one.png", tmp_path / "two.png"]
    move_all([(path, tmp_path / "there" / path.name) for path in names], tmp_path / "note")
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(map(str, found)) == [
        "there/one.png", "there/run/data/a.png", "there/run/run.json", "there/two.png",
    ]  # fmt: skip


def test_what_cannot_be_moved_to_another_disk_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_whole(tmp_path / "run" / "run.json", "kept")
    monkeypatch.setattr(Mounts, "sync", FullDisk(0).sync)
    monkeypatch.setattr(files, "disk", Mounts())
    with pytest.raises(OSError, match="No space"):
        move(tmp_path / "run", tmp_path / "there" / "run")
    assert (tmp_path / "run" / "run.json").read_text() == "kept"
    assert not list((tmp_path / "there").iterdir())
