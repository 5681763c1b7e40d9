"""What a training session is given by the app around it: the gate, orders, and an audience."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from webui.studio.gpu import GpuGate
from webui.studio.watched_runs import WatchedRuns
from webui.training.runs.run_folder import Status
from webui.training.runs.run_state import Order, RunState

if TYPE_CHECKING:
    from PIL import Image

    from webui.embeddings.embedding import Embedding


class Draw(Protocol):
    """Draws a preview for each prompt and its negative prompt; takes the gate itself."""

    def __call__(
        self, prompts: Sequence[tuple[str, str]], embedding: Embedding | None, seed: int
    ) -> list[Image.Image]: ...


class TrainingHost:
    """Ties one session to the gate and to those who watch; a ``Host`` of ``training.session``."""

    def __init__(self, runs: WatchedRuns, watched: RunState, gate: GpuGate, draw: Draw) -> None:
        self._runs = runs
        self._watched = watched
        self._gate = gate
        self.draw = draw

    def order(self) -> Order | None:
        return self._watched.order

    def hold(self, who: str) -> AbstractContextManager[None]:
        finishing = self._watched.status.state == "finishing"
        given_up = (lambda: False) if finishing else (lambda: self.order() is not None)
        return self._gate.hold(who, given_up)

    def say(self, state: str, message: str) -> None:
        with self._runs.changed:
            watched = self._watched
            if state in ("preparing", "training") and watched.status.state == "pausing":
                return
            self._runs.set(watched, Status(state, message, installed=watched.status.installed))

    def tell(self, event: Mapping[str, Any]) -> None:
        self._watched.run.log_event(event)
        with self._runs.changed:
            self._watched.curves.apply(event)
            self._runs.touch(self._watched)

    def pace(self, steps_per_s: float, eta_s: float) -> None:
        with self._runs.changed:
            self._watched.steps_per_s, self._watched.eta_s = steps_per_s, eta_s
            self._runs.touch(self._watched)


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
