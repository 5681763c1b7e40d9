"""Views of runs, as the Train tab shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from webui.job_state import JobState
from webui.training.recipe import Recipe
from webui.training.runs.run_folder import Run, Status
from webui.training.runs.run_state import RunSnapshot, RunState


@pytest.fixture
def view_of(tmp_path: Path) -> Callable[..., RunSnapshot]:
    """Return the view of a run with these step losses and gains, kept at the gains' steps."""

    def make(losses: list[float], gains: dict[int, float], state: str = "training") -> RunSnapshot:
        recipe = Recipe(steps=len(losses), preview_every=0)
        run = Run.create(tmp_path / "train", "my-mug", "mug", recipe, (), ("tiny", "0" * 10))
        (run.folder / "checkpoints").mkdir()
        for step, loss in enumerate([None, *losses]):
            values = {"step": step, "rate": 0.04, "norm_ratio": 1.0}
            if loss is not None:
                run.log_event({"kind": "step", "loss": loss, **values})
            if step in gains:
                gain = gains[step]
                best = gain == max(value for at, value in gains.items() if at <= step)
                measured = {"loss": 0.2 * (1 - gain), "gain": gain, "best": best}
                run.log_event({"kind": "evaluation", **measured, **values})
                (run.folder / "checkpoints" / f"step-{step:06d}.safetensors").touch()
        run.set_status(Status(JobState(state)))
        return RunState(run).view()

    return make
