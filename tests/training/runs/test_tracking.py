"""Numbers for TensorBoard: written where it is installed, refused in words where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from webui.training.jobs.config import job_of
from webui.training.recipe import Recipe
from webui.training.request import TrainingRequest, check_request
from webui.training.runs import tracking


def step(number: int, loss: float) -> dict:
    return {"kind": "step", "step": number, "loss": loss, "rate": 0.04, "norm_ratio": 1.0}


def test_where_it_is_missing_a_run_that_asks_for_it_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(tracking, "available", lambda: False)
    request = TrainingRequest("my-mug", (), "mug", Recipe(tensorboard=True))
    assert ("tensorboard", tracking.MISSING) in check_request(request, None, [])
    kohya = {"token_string": "mug-1", "log_with": "tensorboard"}
    job = job_of(kohya, tmp_path)
    assert not job.recipe_for("sd1").tensorboard and any(
        "events.jsonl" in note for note in job.notes
    )
    assert job_of({"tensorboard": True}, tmp_path).recipe_for("sd1").tensorboard


def test_what_came_after_a_step_that_is_gone_back_to_is_hidden(tmp_path: Path):
    with tracking.scalars(tmp_path, 0) as scalars:
        scalars.take({"kind": "evaluation", "step": 0, "loss": 1, "gain": 0, "editability": 1})
        for number in (1, 2, 3):
            scalars.take(step(number, 0.5))
        scalars.take({"kind": "rolled_back", "step": 3, "to_step": 1})
        scalars.take(step(2, 0.25))
    with tracking.scalars(tmp_path, 2) as scalars:
        scalars.take(step(3, 0.125))
        scalars.take({"kind": "preview", "step": 3, "prompt": "a", "file": "a.png"})
    found = EventAccumulator(str(tmp_path / tracking.FOLDER)).Reload()
    assert [(item.step, item.value) for item in found.Scalars("step/loss")] == [
        (1, 0.5),
        (2, 0.25),
        (3, 0.125),
    ]
    tags = {tag for kind in tracking.TAGS.values() for tag in kind.values()}
    assert set(found.Tags()["scalars"]) == tags
