"""Generation as jobs: each runs in its own thread and can be watched and stopped."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui.errors import AppError, Interrupted
from webui.generation.outputs import save_grid, save_picture
from webui.generation.request import GenerationRequest, checked, default_request
from webui.generation.styles import Styles
from webui.studio.gpu import GpuGate
from webui.studio.library_overlay import LibraryOverlay

if TYPE_CHECKING:
    from webui.embeddings.embedding import Embedding
    from webui.embeddings.library import EmbeddingLibrary
    from webui.generation.preview import Previewer
    from webui.models.model import Model
    from webui.prompting.conditioning import Conditioner, UsedEmbedding

log = logging.getLogger(__name__)

PREVIEW_EVERY_S = 0.4
"""At most one preview picture is decoded in this time; fewer where decoding takes long."""
KEPT_JOBS = 20
"""As many ended jobs are remembered, for pages that are opened again."""


@dataclass(frozen=True)
class SavedPicture:
    """A finished picture on the disk."""

    path: Path
    seed: int
    infotext: str
    used: tuple[UsedEmbedding, ...]


@dataclass(frozen=True)
class JobView:
    """A generation as it stands; a new one takes its place with each change."""

    version: int = 0
    state: str = "waiting"
    """waiting, drawing, done, interrupted or failed."""
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
    skipped: int = 0
    """Batches that were given up."""
    warnings: tuple[str, ...] = ()
    problem: str | None = None
    waiting_for: str | None = None
    """Who computes while this job waits."""

    @property
    def ended(self) -> bool:
        """True once nothing more will come."""
        return self.state in ("done", "interrupted", "failed")


@dataclass
class GenerationJob:
    """One request on its way: a thread writes the view, anyone may read it or ask to stop."""

    request: GenerationRequest
    folder: Path
    """Where its pictures go, in a sub-folder a day."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    asked: float = field(default_factory=time.time)
    """When it was asked for, seconds since 1970."""
    _view: JobView = field(default_factory=JobView)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stop: threading.Event = field(default_factory=threading.Event)
    _skip: threading.Event = field(default_factory=threading.Event)

    @property
    def view(self) -> JobView:
        """The job as it stands now."""
        return self._view

    @property
    def stopped(self) -> bool:
        """True once someone asked to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the job to end after the current step; finished pictures are kept."""
        self._stop.set()

    def skip(self) -> None:
        """Ask the job to give up the batch that it draws and to go on with the next one."""
        if self._view.state == "drawing":
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

    def publish(self, **changes: object) -> None:
        """Replace the view; only the job's own thread calls this."""
        with self._changed:
            self._view = replace(self._view, version=self._view.version + 1, **changes)
            self._changed.notify_all()


class Generating:
    """Starts generations and remembers the newest, for whoever asks for progress."""

    def __init__(
        self,
        folder: Path,
        gate: GpuGate,
        model: Callable[[], Model],
        library: EmbeddingLibrary,
        loras: Path,
        styles: Styles,
    ) -> None:
        self.folder = folder
        """Where pictures go that are asked for without a folder, in a sub-folder a day."""
        self._styles = styles
        self._gate = gate
        self._model = model
        self._library = library
        self._loras = loras
        self._conditioner: Conditioner | None = None
        self._previewer: Previewer | None = None
        self._jobs: dict[str, GenerationJob] = {}

    def start(self, request: GenerationRequest, folder: Path | None = None) -> GenerationJob:
        """Check a request and start drawing it in the background.

        The pictures are kept in ``folder``, the usual one if there is none. Raises BadField if
        something in the request cannot be used.
        """
        request = checked(self._styles.applied(request))
        job = GenerationJob(request, folder or self.folder)
        self.remember(job)
        threading.Thread(target=self._run, args=(job,), name="generate", daemon=True).start()
        return job

    def remember(self, job: GenerationJob) -> None:
        """Count a job among those that can be watched and stopped, whoever carries it out."""
        kept = [key for key, old in self._jobs.items() if old.view.ended][-KEPT_JOBS:]
        self._jobs = {
            key: old for key, old in self._jobs.items() if key in kept or not old.view.ended
        }
        self._jobs[job.id] = job

    def job(self, job_id: str) -> GenerationJob | None:
        """Return a job that goes on or is still remembered, or None."""
        return self._jobs.get(job_id)

    def running(self) -> list[GenerationJob]:
        """Return the jobs that have not ended, in the order in which they get their turn."""
        return [job for job in self._jobs.values() if not job.view.ended]

    def stop(self, job_id: str | None = None) -> None:
        """Ask one job to end, or all of them; ids that are unknown are ignored."""
        for key, job in list(self._jobs.items()):
            if job_id in (None, key):
                job.stop()

    def skip(self, job_id: str | None = None) -> None:
        """Ask one job, or all, to go on with the next batch; ids that are unknown are ignored."""
        for key, job in list(self._jobs.items()):
            if job_id in (None, key):
                job.skip()

    def draw(
        self, prompts: Sequence[tuple[str, str]], embedding: Embedding | None, seed: int
    ) -> list[Image.Image]:
        """Draw one picture for each prompt and its negative prompt without saving it, waiting for
        the gate each time.

        ``embedding`` can be called by its name although it is not in the library; training draws
        its previews with this.
        """
        from webui.generation.engine import Picture, generate

        source = self._library if embedding is None else LibraryOverlay(self._library, embedding)
        drawn = []
        for prompt, negative in prompts:
            model = self._model()
            request = checked(
                default_request(model.defaults, prompt=prompt, negative_prompt=negative, seed=seed)
            )
            with self._gate.hold("a training preview"):
                drawn += [
                    event.image
                    for event in generate(
                        model, request, source, self.conditioner(), loras=self._loras
                    )
                    if isinstance(event, Picture)
                ]
        return drawn

    def conditioner(self) -> Conditioner:
        """The one conditioner with its cache; made at first use because it imports torch."""
        if self._conditioner is None:
            from webui.prompting.conditioning import Conditioner

            self._conditioner = Conditioner()
        return self._conditioner

    def previewer_of(self, model: Model) -> Previewer:
        """Return the model's previewer, kept as long as the model is the same."""
        from webui.generation.preview import Previewer

        if self._previewer is None or self._previewer.model is not model:
            self._previewer = Previewer(model)
        return self._previewer

    def _run(self, job: GenerationJob) -> None:
        try:
            job.publish(waiting_for=self._gate.owner)
            model = self._model()
            with self._gate.hold("a generation", given_up=lambda: job.stopped):
                self._draw(job, model)
            job.publish(state="done", preview=None, eta_s=0.0)
        except Interrupted:
            job.publish(state="interrupted", eta_s=None)
        except AppError as error:
            job.publish(state="failed", problem=str(error))
        except Exception as error:
            log.exception("A generation failed.")
            job.publish(state="failed", problem=explain(error))

    def _draw(self, job: GenerationJob, model: Model) -> None:
        """Run the engine and publish what it tells."""
        from webui.generation.engine import Picture, generate

        request = job.request
        previewer = self.previewer_of(model)
        started = shown = time.monotonic()
        job.publish(state="drawing", steps=request.all_steps, waiting_for=None)
        images: list[Image.Image] = []
        for event in generate(
            model,
            request,
            self._library,
            self.conditioner(),
            loras=self._loras,
            stopped=lambda: job.stopped,
            skipped=job.take_skip,
        ):
            if isinstance(event, Picture):
                images.append(event.image)
                path = save_picture(event.image, event.infotext, event.seed, job.folder)
                saved = SavedPicture(path, event.seed, event.infotext, event.used)
                job.publish(pictures=(*job.view.pictures, saved), warnings=event.warnings)
                continue
            now = time.monotonic()
            if now - shown >= max(PREVIEW_EVERY_S, previewer.rest_s):
                job.publish(preview=previewer(event.latents[0]))
                shown = now
            left_s = (now - started) / event.step * (event.steps - event.step)
            job.publish(step=event.step, eta_s=left_s)
        if request.save_grid and len(images) > 1:
            first = job.view.pictures[0]
            path = save_grid(images, first.infotext, job.folder)
            job.publish(grid=replace(first, path=path))


def explain(error: Exception) -> str:
    """Say in a sentence what an unforeseen error means for the person."""
    if type(error).__name__ == "OutOfMemoryError":
        return "The device ran out of memory. Choose a smaller size or batch and try again."
    if isinstance(error, OSError) and error.errno == 28:
        return "The disk is full, so the picture could not be saved. Make room and try again."
    return "An unexpected error ended the generation; the log says more."
