"""Zip files of strangers: what is taken of them, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from webui import archives
from webui.archives import as_folder, unpacked_beside
from webui.errors import AppError

ENDINGS = (".png", ".txt")


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def found(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def test_files_lie_in_their_folders_without_the_one_around_all_and_are_gone_afterwards(
    tmp_path: Path,
):
    names = ("pets/my_cat/1.PNG", "pets/my_cat/1.txt", "pets\\my_dog\\1.png")
    others = ("__MACOSX/pets/1.png", "pets/my_cat/.hidden.png", "pets/run.exe")
    with as_folder(zipped(tmp_path / "pets.zip", *names, *others), ENDINGS) as folder:
        assert found(folder) == ["my_cat/1.PNG", "my_cat/1.txt", "my_dog/1.png"]
    assert not folder.exists()
    with as_folder(zipped(tmp_path / "one.zip", "my_cat/1.png"), ENDINGS) as folder:
        assert found(folder) == ["my_cat/1.png"], "a folder of one name is not taken away"
    with as_folder(tmp_path, ENDINGS) as folder:
        assert folder == tmp_path


def test_beside_an_archive_it_is_unpacked_once(tmp_path: Path):
    archive = zipped(tmp_path / "pets.zip", "1.png")
    folder = unpacked_beside(archive, ENDINGS)
    (folder / "mine.png").touch()
    assert unpacked_beside(archive, ENDINGS) == folder
    assert found(folder) == ["1.png", "mine.png"] and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("../out.png",), "outside"),
        (("/etc/out.png",), "outside"),
        (("1.png", "2.png", "3.png"), "more than 2 files"),
        (("1.png", "a" * 30 + ".png"), "holds more than"),
    ],
)
def test_what_leads_outside_or_is_too_large_is_refused(
    tmp_path: Path, names: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    monkeypatch.setattr(archives, "MOST_BYTES", 20)
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(AppError, match=told):
        unpacked_beside(zipped(inner / "pets.zip", *names), ENDINGS)
    assert [path.name for path in inner.iterdir()] == ["pets.zip"]
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]


def test_what_is_no_zip_is_told(tmp_path: Path):
    (tmp_path / "paper.zip").write_bytes(b"%PDF-1.7")
    with pytest.raises(AppError, match="paper.zip is no zip file"):
        unpacked_beside(tmp_path / "paper.zip", ENDINGS)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_what_is_damaged_inside_is_told(tmp_path: Path, method: int):
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("1.png", bytes(range(256)) * 40)
    content = bytearray(path.read_bytes())
    place = content.index(b"1.png") + 25
    content[place : place + 60] = bytes(byte ^ 0x55 for byte in content[place : place + 60])
    path.write_bytes(content)
    with pytest.raises(AppError, match="damaged"), as_folder(path, ENDINGS):
        pass


def test_a_name_that_is_a_file_and_a_folder_is_told(tmp_path: Path):
    path = zipped(tmp_path / "pets.zip", "1.png", "1.png/2/3.png")
    with pytest.raises(AppError, match="two files of one name"), as_folder(path, ENDINGS):
        pass
