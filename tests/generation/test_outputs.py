"""Pictures are numbered, put side by side, thrown away and brought back; never elsewhere."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from webui.errors import AppError
from webui.generation.metadata.png_info import read_picture
from webui.generation.outputs import (
    bring_back,
    discard,
    keep_copy,
    make_grid,
    read_parameters,
    save_copies,
    save_grid,
    save_picture,
)

RED, BLUE = Image.new("RGB", (16, 8), "red"), Image.new("RGB", (16, 8), "blue")


def save(folder: Path) -> tuple[Path, str]:
    path = save_picture(RED, "a red thing", folder / "2024-05-06", "7")
    return path, str(path.relative_to(folder))


def test_a_picture_thrown_away_can_be_brought_back(tmp_path: Path):
    folder = tmp_path / "outputs" / "txt2img"
    path, name = save(folder)
    discard(folder, name)
    assert not path.exists()
    assert len(list((tmp_path / "outputs" / ".trash").rglob("*.png"))) == 1
    bring_back(folder, name)
    assert read_parameters(path) == "a red thing"


def test_copies_hold_the_parameters_and_go_with_the_picture(tmp_path: Path):
    folder = tmp_path / "outputs" / "txt2img"
    path, name = save(folder)
    text = "a réd thing 🐸\nSteps: 3"
    save_copies(RED, text, path, jpg=True, txt=True)
    copies = [path.with_suffix(".jpg"), path.with_suffix(".txt")]
    assert read_picture(copies[0]).text == text
    assert copies[1].read_text(encoding="utf-8") == text
    discard(folder, name)
    assert not any(copy.exists() for copy in copies)
    bring_back(folder, name)
    assert all(copy.exists() for copy in copies)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "", "none.png", "notes.txt"])
def test_only_pictures_of_the_folder_are_thrown_away(tmp_path: Path, name: str):
    folder = tmp_path / "outputs" / "txt2img"
    save(folder)
    (folder.parent / "secret.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    for act in (discard, bring_back):
        with pytest.raises(AppError):
            act(folder, name)
    assert (folder.parent / "secret.png").is_file() and (folder / "notes.txt").is_file()


def test_bringing_back_never_replaces_a_picture(tmp_path: Path):
    folder = tmp_path / "outputs" / "txt2img"
    path, name = save(folder)
    discard(folder, name)
    BLUE.save(path)
    with pytest.raises(AppError, match="another image"):
        bring_back(folder, name)
    assert Image.open(path).getpixel((0, 0)) == (0, 0, 255)


def test_a_grid_has_the_pictures_in_rows_and_its_own_numbers(tmp_path: Path):
    grid = make_grid([RED, BLUE, RED])
    assert grid.size == (32, 16)
    assert [grid.getpixel(at) for at in ((0, 0), (31, 0), (0, 15), (31, 15))] == [
        (255, 0, 0),
        (0, 0, 255),
        (255, 0, 0),
        (0, 0, 0),
    ]
    names = [save_grid([RED, BLUE], "two things", tmp_path).name for _ in range(2)]
    assert names == ["grid-0000.png", "grid-0001.png"]
    assert save_picture(RED, "", tmp_path, "7").name == "00000-7.png"
    assert save_picture(RED, "", tmp_path).name == "00001.png"
    assert save_picture(RED, "", tmp_path, "3.5 a").name == "00002-3.5 a.png"


def test_a_kept_picture_is_copied_and_noted_in_a_table(tmp_path: Path):
    text = (
        'a "red", thing\nNegative prompt: blue\nSteps: 3, Sampler: Euler a, CFG scale: 4.5, '
        "Seed: 7, Size: 64x96, Model hash: 6ce0161689, Model: v1-5"
    )
    path = save_picture(RED, text, tmp_path / "txt2img", "7-a thing")
    copies = [keep_copy(path, text, tmp_path / "saved") for _ in range(2)]
    assert [copy.name for copy in copies] == ["00000-7-a thing.png", "00001-7-a thing.png"]
    assert read_parameters(copies[1]) == text
    with open(tmp_path / "saved" / "log.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and rows[1] == {
        "prompt": 'a "red", thing', "seed": "7", "width": "64", "height": "96",
        "sampler": "Euler a", "cfgs": "4.5", "steps": "3", "filename": copies[1].name,
        "negative_prompt": "blue", "sd_model_name": "v1-5", "sd_model_hash": "6ce0161689",
    }  # fmt: skip
