"""Training runs in a terminal: listed, resumed, installed, deleted and brought back."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pytest

from tests.training.runs.test_old_files import OLD
from webui.cli import main
from webui.cli.runs import age


@pytest.fixture
def place(tmp_path: Path, tiny_checkpoint: Path) -> list[str]:
    """The flags of folders in which there is one paused run."""
    shutil.copytree(OLD / "paused-run", tmp_path / "outputs" / "train" / "paused-run")
    (tmp_path / "embeddings").mkdir()
    return [
        "--outputs-dir", str(tmp_path / "outputs"),
        "--embeddings-dir", str(tmp_path / "embeddings"),
        "--models-dir", str(tiny_checkpoint),
    ]  # fmt: skip


def test_runs_are_listed_with_state_step_and_age(
    place: list[str], capsys: pytest.CaptureFixture[str]
):
    main(["runs", *place])
    header, line = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["run", "state", "step", "age"]
    assert line.split()[:5] == ["paused-run", "paused", "9", "of", "24"]


def test_a_run_is_deleted_and_brought_back(place: list[str], capsys: pytest.CaptureFixture[str]):
    main(["runs", "delete", "paused-run", *place])
    assert "runs restore paused-run" in capsys.readouterr().out
    main(["runs", *place])
    assert capsys.readouterr().out == "No runs yet.\n"
    main(["runs", "restore", "paused-run", *place])
    main(["runs", *place])
    assert "paused-run" in capsys.readouterr().out


def test_a_kept_step_is_installed(place: list[str], capsys: pytest.CaptureFixture[str]):
    main(["runs", "install", "paused-run", "--step", "6", *place])
    assert Path(capsys.readouterr().out.strip()).name == "old-thing.safetensors"
    with pytest.raises(SystemExit, match="was not kept"):
        main(["runs", "install", "paused-run", "--step", "7", *place])


def test_what_cannot_be_done_is_said_in_a_sentence(place: list[str]):
    with pytest.raises(SystemExit, match="no training run “gone”"):
        main(["runs", "delete", "gone", *place])
    with pytest.raises(SystemExit, match="Say which run to resume"):
        main(["runs", "resume", *place])
    with pytest.raises(SystemExit, match="trains on tiny, but tiny is loaded|another"):
        main(["runs", "resume", "paused-run", *place])


def test_a_run_is_resumed_where_it_was(place: list[str], capsys: pytest.CaptureFixture[str]):
    train = ["train", "--data", str(OLD / "paused-run" / "data"), "--name", "term-thing"]
    main([*train, "--init", "cat", "--steps", "2", "--preset", "draft", *place])
    capsys.readouterr()
    main(["runs", *place])
    run_id = next(word for word in capsys.readouterr().out.split() if "term-thing" in word)
    status = Path(place[1]) / "train" / run_id / "status.json"
    status.write_text('{"state": "training"}')
    (Path(place[3]) / "term-thing.safetensors").unlink()
    main(["runs", "resume", run_id, *place])
    assert Path(capsys.readouterr().out.strip()).is_file()


@pytest.mark.parametrize(
    ("created", "told"),
    [
        ("2026-03-04T12:00:30", "now"),
        ("2026-03-04T11:55:00", "6 min"),
        ("2026-03-04T09:01:00", "3 h"),
        ("2026-03-01T12:00:00", "3 d"),
    ],
)
def test_ages_are_told_in_their_largest_unit(created: str, told: str):
    assert age(created, datetime(2026, 3, 4, 12, 1, 1)) == told
