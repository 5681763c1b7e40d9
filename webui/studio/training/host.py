"""Ties one run to the gate, to the orders that people give it, and to those who watch."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from webui.job_state import JobState
from webui.studio.gpu import GpuGate
from webui.studio.training.checkpoints import Draw
from webui.studio.training.trials import Trials
from webui.training.runs.run_state import Order, Phase, RunState, RunStates

if TYPE_CHECKING:
    from PIL import Image

    from webui.models.model import Model
    from webui.training.dataset import Picture
    from webui.training.learned.step import LearnedStep
    from webui.training.recipe import Recipe
    from webui.training.trials.drawable import Comparison

COMPARING = "Comparing the images with the model's own"
"""A phase of a run, in words for people."""


class RunHost:
    """A ``Host`` of ``training.runs.runner``."""

    def __init__(
        self,
        runs: RunStates,
        run: RunState,
        gate: GpuGate,
        model: Model,
        draw: Draw,
        trials: Trials,
    ) -> None:
        self._runs, self._run, self._gate = runs, run, gate
        self._model, self._draw, self._trials = model, draw, trials

    def order(self) -> Order | None:
        return self._run.order

    def hold(self, who: str) -> AbstractContextManager[None]:
        finishing = self._run.status.state is JobState.FINISHING
        return self._gate.hold(who, lambda: not finishing and self._ordered())

    def set_status(self, state: JobState, message: str) -> None:
        with self._runs.changed:
            pausing = self._run.status.state is JobState.PAUSING
            if state is not JobState.FINISHING and pausing:
                return
            if state is JobState.FINISHING and self._run.order == "keep":
                self._run.order = None  # it is done now; another one asks to be quicker
            self._runs.say(self._run, state, message)

    def draw(
        self, prompts: Sequence[tuple[str, str]], learned: LearnedStep | None, seed: int
    ) -> list[Image.Image]:
        return self._draw(self._model, prompts, learned, seed, self._ordered)

    def compare(self, recipe: Recipe, pictures: Sequence[Picture]) -> Comparison | None:
        return self._trials.compare(
            self._model,
            self._ordered,
            recipe,
            pictures,
            lambda done, total: self.report_phase(COMPARING, done, total),
        )

    def _ordered(self) -> bool:
        return self._run.order is not None

    def report_phase(self, phase: str, done: int, total: int) -> None:
        with self._runs.changed:
            before = self._run.phases
            if before and before[-1].name == phase:
                before = before[:-1]
            self._run.phases = (*before, Phase(phase, done, total))
            self._runs.touch(self._run)

    def log_event(self, event: Mapping[str, Any]) -> None:
        self._run.run.log_event(event)
        with self._runs.changed:
            self._run.curves.apply(event)
            self._runs.touch(self._run)

    def report_speed(self, steps_per_s: float, eta_s: float) -> None:
        with self._runs.changed:
            self._run.steps_per_s, self._run.eta_s = steps_per_s, eta_s
            self._runs.touch(self._run)


def in_words(problem: Exception) -> str:
    """Say what an unforeseen exception means for people."""
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
        return "The disk is full. Make room, then resume the run."
    if type(problem).__name__ == "OutOfMemoryError" or isinstance(problem, MemoryError):
        return (
            "There is not enough memory for this recipe. Use the Low VRAM preset or a smaller "
            "batch; or free memory, then resume the run."
        )
    return f"Unexpected error ({type(problem).__name__}); the log says more."
