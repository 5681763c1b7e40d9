"""How a job or a training run stands: the one list of states, whoever keeps or shows them."""

from __future__ import annotations

from enum import Enum


class JobState(str, Enum):
    """A state; its value is the word in saved files, in the API and on the page."""

    QUEUED = "queued"
    """It waits for its turn."""
    PREPARING = "preparing"
    """A run waits for the model, or its pictures are being read."""
    DRAWING = "drawing"
    TRAINING = "training"
    PAUSING = "pausing"
    """A run is being saved, to be paused then."""
    PAUSED = "paused"
    FINISHING = "finishing"
    """What a run has learned is being measured."""
    FINISHED = "finished"
    STOPPED = "stopped"
    """A person ended it early."""
    FAILED = "failed"

    __str__ = str.__str__

    @property
    def running(self) -> bool:
        """Whether a thread works on it."""
        return not self.ended and self is not JobState.QUEUED

    @property
    def ended(self) -> bool:
        """Whether nothing more comes unless someone resumes it."""
        return self.resumable or self is JobState.FINISHED

    @property
    def resumable(self) -> bool:
        """Whether a training run in this state can go on."""
        return self in (JobState.PAUSED, JobState.STOPPED, JobState.FAILED)
