"""The commands in a terminal, on real files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from webui.cli import main
from webui.embeddings import formats


def write(path: Path) -> Path:
    torch.save({"string_to_param": {"*": torch.randn(3, 768)}, "name": "inner", "step": 9}, path)
    return path


def test_inspect_says_what_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["inspect", str(write(tmp_path / "a.pt"))])
    said = capsys.readouterr().out
    assert "3 vectors, SD1 (768 wide)" in said
    assert "name inside: inner" in said and "steps: 9" in said


def test_inspect_goes_on_after_a_bad_file_and_ends_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    bad = tmp_path / "bad.pt"
    bad.write_text("no embedding")
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(bad), str(write(tmp_path / "a.pt"))])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "bad.pt: " in said and "3 vectors" in said


@pytest.mark.parametrize("ending", [".safetensors", ".bin", ".png"])
def test_a_converted_file_holds_the_same_vectors(tmp_path: Path, ending: str):
    source, target = write(tmp_path / "a.pt"), tmp_path / f"b{ending}"
    main(["convert", str(source), str(target)])
    before, after = formats.read(source), formats.read(target)
    assert after.content_hash == before.content_hash
    assert after.step == (None if ending == ".bin" else 9), "diffusers files hold no steps"


def test_a_file_is_never_overwritten(tmp_path: Path):
    source, target = write(tmp_path / "a.pt"), tmp_path / "b.bin"
    target.write_text("precious")
    with pytest.raises(SystemExit, match="not replaced"):
        main(["convert", str(source), str(target)])
    assert target.read_text() == "precious"


def test_an_unknown_ending_is_refused(tmp_path: Path):
    with pytest.raises(SystemExit, match="must end in one of"):
        main(["convert", str(write(tmp_path / "a.pt")), str(tmp_path / "b.txt")])


def test_train_learns_a_file_from_a_folder_of_pictures(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        Image.effect_noise((96, 96), 20 + 30 * number).convert("RGB").save(data / f"{number}.png")
    (data / "notes.md").write_text("not a picture")
    folders = ["--models-dir", str(tiny_checkpoint), "--embeddings-dir", str(tmp_path / "e")]
    main(
        ["train", "--data", str(data), "--name", "my_thing_1", "--init", "star", "--steps", "3",
         "--preset", "low_vram", "--outputs-dir", str(tmp_path / "o"), "--device", "cpu", *folders]
    )  # fmt: skip
    assert str(tmp_path / "e" / "my_thing_1.safetensors") in capsys.readouterr().out
    assert formats.read(tmp_path / "e" / "my_thing_1.safetensors").widths == {"clip_l": 128}


def test_train_says_everything_that_is_wrong_at_once(tmp_path: Path, tiny_checkpoint: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="(?s)pictures.*initializer"):
        main(
            ["train", "--data", str(tmp_path / "empty"), "--name", "my_thing_1", "--init", " ",
             "--models-dir", str(tiny_checkpoint), "--embeddings-dir", str(tmp_path / "e"),
             "--outputs-dir", str(tmp_path / "o"), "--device", "cpu"]
        )  # fmt: skip
