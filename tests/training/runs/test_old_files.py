"""Runs as earlier versions left them on the disk: they open, go on, and end as they would have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.runs.test_runner import Witness
from webui.job_state import JobState
from webui.models.model import Model
from webui.training.runs.run_folder import Run
from webui.training.runs.run_state import RunStates
from webui.training.runs.runner import carry_out

OLD = Path(__file__).parent / "old_files"


@pytest.fixture
def paused(tmp_path: Path) -> Run:
    """A run of 24 steps that was paused at step 9 before fields and states had their names."""
    return Run(Path(shutil.copytree(OLD / "paused-run", tmp_path / "train" / "paused-run")))


def test_a_paused_run_opens_with_all_it_had(paused: Run):
    view = RunStates(paused.folder.parent).current()
    assert (view.state, view.step, view.steps) == (JobState.PAUSED, 9, 24)
    assert view.state.resumable and view.checkpoints == (0, 6)
    assert [step for step, _ in view.raw_losses] == list(range(1, 10))
    assert [step for step, _, path in view.previews if path.is_file()] == [0, 6]
    assert len(paused.pictures()) == 3


def test_a_paused_run_goes_on_and_ends_as_if_it_had_not_been_paused(paused: Run, model: Model):
    assert carry_out(paused, model, Witness(paused)).state is JobState.FINISHED
    expected = load_file(OLD / "uninterrupted.safetensors")["clip_l"]
    assert torch.allclose(
        paused.read_checkpoint(24).embeddings[0].vectors["clip_l"], expected, atol=1e-4
    )


@pytest.mark.parametrize("word", ["queued", "preparing", "training", "pausing", "finishing"])
def test_a_run_that_was_cut_off_in_any_state_can_be_resumed(paused: Run, word: str):
    (paused.folder / "status.json").write_text(f'{{"state": "{word}", "message": "Training."}}')
    view = RunStates(paused.folder.parent).current()
    assert view.state is JobState.PAUSED and "closed during this run" in view.message
