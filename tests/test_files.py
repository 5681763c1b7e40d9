"""Files are written whole or not at all, and paths stay inside their folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from webui.errors import AppError
from webui.files import contained, replacing, sha256, write_whole


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
