"""Generations as jobs: watched by anyone, stopped by request, changed by their own thread alone."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from webui.generation.file_names import NamedPicture, Naming
from webui.generation.outputs import save_copies, save_picture
from webui.generation.request import GenerationRequest
from webui.job_state import JobState
from webui.studio.models_in_use import ModelChoice

if TYPE_CHECKING:
    from webui.generation.engine import ModelUsed, Picture
    from webui.prompting.conditioning import UsedEmbedding


PREVIEW_EVERY_S = 0.4
"""At most one preview picture is decoded in this time; fewer where decoding takes long."""


@dataclass(frozen=True)
class SavedPicture:
    """A picture on the disk, with what it was made of."""

    path: Path
    request: GenerationRequest
    """What gives this one picture: its own seeds, a batch of one."""
    model: ModelUsed
    infotext: str
    """What stands in the file for people and other programs."""
    used: tuple[UsedEmbedding, ...]

    @classmethod
    def of(cls, picture: Picture, path: Path, infotext: str) -> SavedPicture:
        """Return a picture as it was saved."""
        return cls(path, picture.request, picture.model, infotext, picture.used)

    @property
    def seed(self) -> int:
        """The seed of its noise."""
        return self.request.seed


@dataclass(frozen=True)
class JobView:
    """A generation as it stands; a new one takes its place with each change."""

    version: int = 0
    state: JobState = JobState.QUEUED
    step: int = 0
    steps: int = 0
    eta_s: float | None = None
    """Seconds left, once known."""
    preview: Image.Image | None = None
    pictures: tuple[SavedPicture, ...] = ()
    grid: SavedPicture | None = None
    """All pictures side by side, if that was asked for."""
    is_plot: bool = False
    """Whether the grid is what was asked for, and the pictures are its cells."""
    cell: int = 0
    """Which of a plot's cells is being drawn, from 1."""
    cells: int = 0
    skipped: int = 0
    """Batches that were given up."""
    warnings: tuple[str, ...] = ()
    problem: str | None = None
    waiting_for: str | None = None
    """Who computes while this job waits."""

    @property
    def ended(self) -> bool:
        """True once nothing more will come."""
        return self.state.ended


@dataclass(eq=False)
class GenerationJob:
    """One request on its way: a thread writes the view, anyone may read it or ask to stop."""

    request: GenerationRequest
    folder: Path
    """Where its pictures go, in a sub-folder as ``naming`` says."""
    model: ModelChoice
    """The model to draw with."""
    naming: Naming = field(default_factory=Naming)
    """What folders and files are called."""
    styles: tuple[str, ...] = ()
    """The styles that were written out in the request's prompts."""
    plain_prompt: str = ""
    """The prompt without them."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    asked: float = field(default_factory=time.time)
    """When it was asked for, seconds since 1970."""
    ahead: GenerationJob | None = None
    """The job that this one is queued behind, until that has ended."""
    next: GenerationJob | None = None
    """The job that is queued behind this one."""
    preview_due: float = 0.0
    """When the next preview is wanted, as ``time.monotonic`` tells it."""
    _view: JobView = field(default_factory=JobView)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stop: threading.Event = field(default_factory=threading.Event)
    _skip: threading.Event = field(default_factory=threading.Event)
    _began: float = 0.0
    _done_before: int = 0
    """Steps of the parts before the one that is being drawn."""

    @property
    def view(self) -> JobView:
        """The job as it stands now."""
        return self._view

    @property
    def stopped(self) -> bool:
        """True once someone asked to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the job to end after the current step; what there is of its pictures is kept."""
        self._stop.set()

    def skip(self) -> None:
        """Ask the job to give up the batch that it draws and to go on with the next one."""
        if self._view.state is JobState.DRAWING:
            self._skip.set()

    def take_skip(self) -> bool:
        """Return whether a skip was asked for, once; only the job's own thread calls this."""
        if not self._skip.is_set():
            return False
        self._skip.clear()
        self.publish(skipped=self._view.skipped + 1)
        return True

    def updates(self, patience_s: float = 1.0) -> Iterator[JobView]:
        """Yield the newest view whenever it changed, until the job has ended.

        At least every ``patience_s`` seconds the last view is repeated, so that a reader who has
        gone away is noticed.
        """
        view = None
        while view is None or not view.ended:
            with self._changed:
                if self._view is view:
                    self._changed.wait(patience_s)
                view = self._view
            yield view

    def wait(self) -> JobView:
        """Return the view once the job has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._view.ended)
        return self._view

    # What only the job's own thread calls, or one that saves for it

    def publish(self, **changes: Any) -> None:
        """Replace the view."""
        with self._changed:
            self._view = replace(self._view, version=self._view.version + 1, **changes)
            self._changed.notify_all()

    def begin(self) -> None:
        """Say that drawing begins, unless it has begun before."""
        if self._view.state is JobState.QUEUED:
            self._began = time.monotonic()
            self.preview_due = self._began + PREVIEW_EVERY_S
            self.publish(state=JobState.DRAWING, waiting_for=None)

    def step_done(self, step: int, preview: Image.Image | None) -> None:
        """Say how many steps of the current part are done, and how it looks if that is known."""
        done = self._done_before + step
        left_s = (time.monotonic() - self._began) / done * (self._view.steps - done)
        shown = {} if preview is None else {"preview": preview}
        self.publish(step=done, eta_s=left_s, **shown)

    def part_done(self, steps: int) -> None:
        """Say that a part of so many steps is over, whatever came of it."""
        self._done_before += steps

    def save(self, picture: Picture, infotext: str | None = None) -> SavedPicture:
        """Save a picture with a parameters text, usually its own, and show it."""
        text = picture.infotext if infotext is None else infotext
        named = NamedPicture(
            picture.image,
            picture.request,
            picture.model.name,
            picture.model.short_hash,
            picture.model.vae[0] if picture.model.vae else "",
            replace(self.request, styles=self.styles),
            self.plain_prompt,
            len(self._view.pictures),
            datetime.fromtimestamp(self.asked),
        )
        folder = self.folder / self.naming.folder(named)
        path = save_picture(picture.image, text, folder, self.naming.decoration(named))
        save_copies(picture.image, text, path, self.request.save_jpg, self.request.save_txt)
        saved = SavedPicture.of(picture, path, text)
        warnings = tuple(dict.fromkeys((*self._view.warnings, *picture.warnings)))
        self.publish(pictures=(*self._view.pictures, saved), warnings=warnings)
        return saved
