"""A run's folder: what is written, and what comes back of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webui.errors import AppError, UnreadableFile
from webui.job_state import JobState
from webui.training.dataset import read_pictures
from webui.training.recipe import Recipe
from webui.training.runs.report import EvalResult, Report
from webui.training.runs.run_folder import STATE, Run, Status, list_runs
from webui.training.runs.run_state import Curves, RunState, thinned


@pytest.fixture
def run(tmp_path: Path, picture_files: Callable) -> Run:
    pictures = picture_files(3)
    pictures[0].with_suffix(".txt").write_text("my-thing on a mat")
    return Run.create(
        tmp_path / "train",
        "my-thing",
        "cat",
        Recipe(steps=7),
        read_pictures(pictures),
        ("tiny", "abc"),
    )


def test_a_run_keeps_what_it_was_asked_and_copies_of_the_pictures(run: Run):
    record = run.record()
    assert (record.name, record.initializer, record.recipe) == ("my-thing", "cat", Recipe(steps=7))
    assert (record.model_name, record.model_hash) == ("tiny", "abc")
    pictures = run.pictures()
    assert [picture.path.name for picture in pictures] == [
        "01-000 thing.png",
        "02-001 thing.png",
        "03-002 thing.png",
    ]
    assert [picture.text for picture in pictures] == ["my-thing on a mat", "thing", "thing"]


def test_a_run_of_an_earlier_version_is_read(run: Run):
    values = json.loads((run.folder / "run.json").read_text())
    recipe = {"steps": 7, "rate": "0.1", "batch": 2, "places": [-1, 0.5], "cosine": False}
    (run.folder / "run.json").write_text(
        json.dumps({**values, "recipe": recipe, "tensorboard": True})
    )
    found = run.record().recipe
    assert found == Recipe(
        steps=7,
        learning_rate="0.1",
        batch_size=2,
        crop_positions=(-1, 0.5),
        lr_scheduler="constant",
    )
    assert found.tensorboard


def test_two_runs_of_one_second_have_folders_of_their_own(run: Run, picture_files: Callable):
    root = run.folder.parent
    others = [
        Run.create(
            root, "my-thing", "cat", Recipe(), read_pictures(picture_files(3)), ("tiny", "abc")
        )
        for _ in range(2)
    ]
    assert len({run.run_id, *(other.run_id for other in others)}) == 3
    assert len(list_runs(root)) == 3


def test_a_picture_that_was_changed_is_noticed(run: Run):
    path = run.folder / "data" / "02-001 thing.png"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(AppError, match="02-001 thing.png.*changed or deleted"):
        run.pictures()


def test_the_log_is_only_ever_added_to_and_survives_a_cut(run: Run):
    run.log_event({"kind": "step", "step": 1})
    before = (run.folder / "events.jsonl").read_bytes()
    run.log_event({"kind": "step", "step": 2})
    assert (run.folder / "events.jsonl").read_bytes().startswith(before)
    with open(run.folder / "events.jsonl", "a") as file:
        file.write('{"kind": "st')
    assert [event["step"] for event in run.events()] == [1, 2]
    run.log_event({"kind": "step", "step": 3})
    assert [event["step"] for event in run.events()] == [1, 2, 3]


def test_checkpoints_come_back_bit_for_bit(run: Run):
    vectors = {"clip_l": torch.randn(2, 32)}
    run.save_checkpoint(25, {"my-thing": vectors})
    run.save_checkpoint(0, {"my-thing": vectors})
    assert run.checkpoints() == (0, 25)
    assert torch.equal(run.read_checkpoint(25).embeddings[0].vectors["clip_l"], vectors["clip_l"])
    with pytest.raises(AppError, match="Step 10"):
        run.read_checkpoint(10)


@pytest.mark.parametrize("content", [b"", b"\x80\x04cos\nsystem\n.", b"PK\x03\x04"])
def test_a_damaged_state_is_refused_and_never_executed(run: Run, content: bytes):
    (run.folder / STATE).write_bytes(content)
    with pytest.raises(UnreadableFile, match="cannot be resumed"):
        run.read_state()


def test_the_status_is_written_whole(run: Run):
    run.set_status(Status(JobState.FAILED, "It can be resumed.", "No room."))
    assert run.status() == Status(JobState.FAILED, "It can be resumed.", "No room.")
    assert json.loads((run.folder / "status.json").read_text())["state"] == "failed"


def test_folders_that_are_no_runs_are_passed_over(run: Run):
    (run.folder.parent / "notes").mkdir()
    assert list_runs(run.folder.parent) == [run]
    assert list_runs(run.folder.parent / "missing") == []


def test_curves_forget_what_a_crash_or_a_way_back_undid():
    def step(number: int) -> dict[str, object]:
        return {"kind": "step", "step": number, "loss": 0.1 * number, "rate": 1, "norm_ratio": 1}

    curves = Curves([step(1), step(2), step(3), {"kind": "resumed", "to_step": 1}, step(2)])
    assert [number for number, _ in curves.raw] == [1, 2] and curves.step == 2
    curves.apply({"kind": "rolled_back", "step": 3, "to_step": 0, "reason": "NaN"})
    assert curves.raw == [] and curves.step == 0


def test_long_curves_are_thinned_to_means():
    points = [(step, float(step % 2)) for step in range(1, 3001)]
    short = thinned(points)
    assert len(short) == 300 and short[-1][0] == 3000
    assert all(value == pytest.approx(0.5) for _, value in short)
    assert thinned(points[:5]) == tuple(points[:5]) and thinned([]) == ()


def test_a_picture_that_is_called_a_page_is_kept_as_a_picture(
    tmp_path: Path, picture_files: Callable
):
    page, *others = picture_files(3)
    page = page.rename(page.with_suffix(".html"))
    pictures = read_pictures([page, *others])
    run = Run.create(
        tmp_path / "train", "my-thing", "cat", Recipe(steps=7), pictures, ("tiny", "abc")
    )
    assert {path.suffix for path in (run.folder / "data").iterdir()} == {".png"}


def test_a_curve_begins_at_the_initializer_and_has_the_reports_figure_where_it_was_measured_again(
    tmp_path: Path,
):
    run = Run.create(tmp_path, "my-mug", "mug", Recipe(steps=50), (), ("tiny", "0" * 10))
    for step, loss, gain in ((0, 0.208, -0.04), (25, 0.16, 0.2), (50, 0.15, 0.25)):
        event = {"step": step, "loss": loss, "gain": gain, "best": True}
        run.log_event({"kind": "evaluation", **event})
    assert RunState(run).view().gains == ((0, 0.0), (25, 0.2), (50, 0.25))
    assert RunState(run).view().losses[0] == (0, pytest.approx(0.2)), "of its words"
    score = EvalResult(0.15, 0.27, 0.02, None, 0.3, (0.2, 0.2, 0.2))
    report = Report("learned", "", 50, "", score, 0.8, 1.0, (), 9.0)
    run.save_report(report.to_dict())
    assert RunState(run).view().gains == ((0, 0.0), (25, 0.2), (50, 0.27))
