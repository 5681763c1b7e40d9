"""``score`` in a terminal: the numbers, the sheet, and what cannot be asked for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from webui.cli import main
from webui.cli.scoring import numbers_of, prompts_of
from webui.errors import BadField


@pytest.mark.slow
def test_what_a_run_made_is_measured_on_its_pictures(
    tmp_path: Path, data: Path, place: list[str], capsys: pytest.CaptureFixture[str]
):
    main(
        ["train", "--data", str(data), "--name", "my_thing_1", "--init", "star", "--steps", "2",
         "--preset", "low_vram", *place]
    )  # fmt: skip
    stranger = tmp_path / "stranger.safetensors"
    save_file({"emb_params": 9 * torch.ones(2, 128)}, stranger)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a [name]\n\na [name] at night\n")
    out = tmp_path / "scores"
    main(
        ["score", "my_thing_1", str(stranger), "--prompts", str(prompts), "--strengths", "0.8,1",
         "--seeds", "3", "--out", str(out), *place]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "my_thing_1: 3 vectors, gain " in said and "compared with “star”" in said
    assert "stranger: 2 vectors, no images" in said
    mine, other = json.loads((out / "scores.json").read_text())
    assert mine["norm_ratio"] == pytest.approx(1, abs=1e-3) and mine["verdict"]
    assert other["norm_ratio"] > 100 and other["gain"] is None
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["my_thing_1", "stranger"]
    with Image.open(out / "01-my_thing_1.png") as sheet:
        assert sheet.width > 3 * 64 and sheet.height > 2 * 64, "three columns and two rows"
    assert (out / "02-stranger.png").is_file()


def test_pictures_can_be_given(tmp_path: Path, data: Path, place: list[str]):
    stranger = tmp_path / "stranger.safetensors"
    save_file({"emb_params": 0.05 * torch.ones(20, 128)}, stranger)
    main(
        ["score", str(stranger), "--data", str(data), "--init", "star", "--no-sheet",
         "--out", str(tmp_path), *place]
    )  # fmt: skip
    (found,) = json.loads((tmp_path / "scores.json").read_text())
    assert found["gain"] is not None and found["vectors"] == 20
    assert not list(tmp_path.glob("*.png"))


def test_an_embedding_for_another_model_is_refused_with_the_reason(
    tmp_path: Path, place: list[str]
):
    wide = tmp_path / "wide.safetensors"
    save_file({"emb_params": torch.ones(1, 768)}, wide)
    with pytest.raises(SystemExit, match="“wide”: .*768"):
        main(["score", str(wide), "--no-sheet", "--out", str(tmp_path), *place])


def test_an_unknown_name_is_told(tmp_path: Path, place: list[str]):
    with pytest.raises(SystemExit, match="neither an embedding nor a file “nothing”"):
        main(["score", "nothing", *place])


@pytest.mark.parametrize("text", ["", "a", "1,,2", "nan", "9", "-1"])
def test_strengths_that_are_none_are_told_by_the_flag(text: str):
    with pytest.raises(BadField, match="--strengths"):
        numbers_of("strengths", text, 0.0, 4.0)


def test_prompts_must_call_the_embedding(tmp_path: Path):
    file = tmp_path / "prompts.txt"
    file.write_text("a [name]\na house\n")
    with pytest.raises(BadField, match="“a house” of prompts.txt lacks"):
        prompts_of(file)
    file.write_text("\n")
    with pytest.raises(BadField, match="holds 0 prompts"):
        prompts_of(file)
