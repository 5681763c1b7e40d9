"""A run's numbers for TensorBoard, on machines that have it; nothing else here needs it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = "tensorboard"
MISSING = "TensorBoard is not installed here. Run pip install tensorboard, or train without it."
TAGS: Mapping[str, Mapping[str, str]] = {
    "step": {"loss": "step/loss", "rate": "step/learning_rate", "norm_ratio": "step/norm_ratio"},
    "evaluation": {
        "loss": "evaluation/loss",
        "gain": "evaluation/gain",
        "editability": "evaluation/editability",
    },
}
"""What is written of an event of the log, and under which name."""


def available() -> bool:
    """Whether TensorBoard is installed."""
    return importlib.util.find_spec("tensorboard") is not None


@contextmanager
def scalars(folder: Path, step: int) -> Iterator[Scalars]:
    """Open the scalars of the run in ``folder``, which goes on after ``step``."""
    opened = Scalars(folder / FOLDER, step)
    try:
        yield opened
    finally:
        opened.close()


class Scalars:
    """Writes scalars event by event; what came after a step that is gone back to is hidden.

    Written with torch's own writer: accelerate's tracker would join processes that train
    different embeddings into one group, and write for the first of them only.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        self._open(step)

    def _open(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1 if step else None)

    def take(self, event: Mapping[str, Any]) -> None:
        """Write the numbers of one event of the log."""
        if event["kind"] == "rolled_back":
            self.close()
            self._open(event["to_step"])
        for key, tag in TAGS.get(event["kind"], {}).items():
            self._writer.add_scalar(tag, event[key], event["step"])

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
