"""``inspect`` and ``convert`` in a terminal, on real files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
