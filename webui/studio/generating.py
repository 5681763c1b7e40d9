"""Generations: started, queued, watched and stopped; each runs in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from webui.errors import AppError, Interrupted
from webui.generation.file_names import Naming
from webui.generation.outputs import save_grid
from webui.generation.request import GenerationRequest, checked
from webui.generation.styles import Styles
from webui.job_state import JobState
from webui.studio.drawing import Drawing
from webui.studio.gpu import GpuGate
from webui.studio.jobs import GenerationJob
from webui.studio.models_in_use import ModelChoice, ModelsInUse

if TYPE_CHECKING:
    from PIL import Image

    from webui.generation.engine import Picture

log = logging.getLogger(__name__)

KEPT_JOBS = 20
"""As many ended jobs are remembered, for pages that are opened again."""


class Generating:
    """Starts generations and remembers the newest, for whoever asks for progress."""

    def __init__(
        self,
        folder: Path,
        gate: GpuGate,
        models: ModelsInUse,
        drawing: Drawing,
        styles: Styles,
        naming: Naming,
    ) -> None:
        self.folder = folder
        """Where pictures go that are asked for without a folder."""
        self.naming = naming
        """What their sub-folders and files are called, unless a request says it."""
        self._styles = styles
        self._gate, self._models = gate, models
        self._drawing = drawing
        self._lock = threading.Lock()
        self._jobs: dict[str, GenerationJob] = {}

    def start(
        self,
        request: GenerationRequest,
        folder: Path | None = None,
        *,
        model: ModelChoice | None = None,
        after: str | None = None,
    ) -> GenerationJob:
        """Check a request and start drawing it in the background.

        The pictures are kept in ``folder``, the usual one if there is none. They are drawn with
        ``model``, the one in use if there is none. ``after`` as for ``carry_out``.
        Raises BadField if something in the request cannot be used.
        """
        styles, plain = request.styles, request.prompt
        request = checked(self._styles.applied(request))
        self._drawing.check(request)
        job = GenerationJob(
            request,
            folder or self.folder,
            model or self._models.choice(),
            self.naming.of(request),
            styles,
            plain,
        )
        job.publish(steps=request.all_steps)
        return self.carry_out(job, self._draw, after)

    def carry_out(
        self, job: GenerationJob, work: Callable[[GenerationJob], None], after: str | None = None
    ) -> GenerationJob:
        """Let a thread do the work of a job, whatever it is, and remember the job.

        If a job ``after``, or one that is queued behind it, goes on, it is waited for.
        """
        with self._lock:
            job.ahead = self._last_of(after)
            if job.ahead:
                job.ahead.next = job
            kept = [key for key, old in self._jobs.items() if old.view.ended][-KEPT_JOBS:]
            self._jobs = {
                key: old for key, old in self._jobs.items() if key in kept or not old.view.ended
            }
            self._jobs[job.id] = job
        job.publish(waiting_for=self._gate.owner)
        threading.Thread(target=self._run, args=(job, work), name="generate", daemon=True).start()
        return job

    def _last_of(self, job_id: str | None) -> GenerationJob | None:
        """Return the last job of those queued behind a job, or the job; None if all have ended."""
        job = self._jobs.get(job_id or "")
        while job and job.next:
            job = job.next
        return None if job is None or job.view.ended else job

    def job(self, job_id: str) -> GenerationJob | None:
        """Return a job that goes on or is still remembered, or None."""
        return self._jobs.get(job_id)

    def current(self, job_id: str) -> GenerationJob | None:
        """Return a job; once it has ended, the next of those that were queued behind it."""
        job = self._jobs.get(job_id)
        while job and job.view.ended and job.next:
            job = job.next
        return job

    def running(self) -> list[GenerationJob]:
        """Return the jobs that have not ended, in the order in which they get their turn."""
        return [job for job in list(self._jobs.values()) if not job.view.ended]

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

    def queued_behind(self, job: GenerationJob) -> int:
        """Return how many jobs are queued behind one, which go on when it has ended."""
        count, behind = 0, job.next
        while behind:
            count += not behind.view.ended
            behind = behind.next
        return count

    def _run(self, job: GenerationJob, work: Callable[[GenerationJob], None]) -> None:
        try:
            for _ in job.ahead.updates(patience_s=0.2) if job.ahead else ():
                if job.stopped:
                    raise Interrupted("Stopped while waiting for its turn.")
            job.ahead = None
            work(job)
            job.publish(state=JobState.FINISHED, preview=None, eta_s=0.0)
        except Interrupted:
            job.publish(state=JobState.STOPPED, preview=None, eta_s=None)
        except AppError as error:
            job.publish(state=JobState.FAILED, preview=None, problem=str(error))
        except Exception as error:
            log.exception("A generation failed.")
            job.publish(state=JobState.FAILED, preview=None, problem=explain(error))
        finally:
            job.ahead = None
            self._models.settle()

    def _draw(self, job: GenerationJob) -> None:
        """Draw a request, save each picture, and all of them side by side if that is asked for."""
        images: list[Image.Image] = []

        def keep(picture: Picture) -> None:
            job.save(picture)
            images.append(picture.image)

        self._drawing.draw(job.request, "a generation", keep, job=job, model=job.model)
        if job.request.save_grid and len(images) > 1:
            first = job.view.pictures[0]
            path = save_grid(images, first.infotext, first.path.parent)
            job.publish(grid=replace(first, path=path))


def explain(error: Exception) -> str:
    """Say in a sentence what an unforeseen error means for the person."""
    if type(error).__name__ == "OutOfMemoryError":
        return "The device ran out of memory. Choose a smaller size or batch and try again."
    if isinstance(error, OSError) and error.errno == 28:
        return "The disk is full, so the image could not be saved. Make room and try again."
    return "An unexpected error ended the generation; the log says more."
