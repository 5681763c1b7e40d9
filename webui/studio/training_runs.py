"""Training in the background: a queue of runs, one worker thread, and what people see of it."""

from __future__ import annotations

import errno
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from webui.errors import AppError, BadField
from webui.files import replacing
from webui.studio.gpu import GpuGate
from webui.training.captions import NAME, examples
from webui.training.dataset import Finding, read_picture
from webui.training.intake import TrainingRequest, check_request, preflight_request
from webui.training.run import Record, Run, Status, list_runs
from webui.training.watching import RESUMABLE, RUNNING, Order, RunSummary, RunView, Watched

if TYPE_CHECKING:
    from PIL import Image

    from webui.embeddings.embedding import Embedding
    from webui.models.model import Model

log = logging.getLogger(__name__)

STRENGTHS = (0.6, 0.8, 1.0, 1.2)
"""Weights at which a step is shown side by side."""


class Draw(Protocol):
    """Draws previews; takes the gate itself."""

    def __call__(
        self, prompts: Sequence[str], embedding: Embedding | None, seed: int
    ) -> list[Image.Image]: ...


class TrainingRuns:
    """The queue of training runs; every page, the API and the terminal share it.

    Between two steps the gate is free, so pictures asked for meanwhile are drawn. Runs live in
    their folders: after a restart they are listed, shown, and those cut short can be resumed.
    """

    def __init__(
        self,
        folder: Path,
        gate: GpuGate,
        model: Callable[[], Model],
        draw: Draw,
        install: Callable[[Embedding, dict[str, str], bool], Path],
        names_in_use: Callable[[], Collection[str]],
    ) -> None:
        self._folder = folder
        self._gate = gate
        self._model = model
        self._draw = draw
        self._install = install
        self._names_in_use = names_in_use
        self._changed = threading.Condition()
        self._queue: deque[str] = deque()
        self._watched: dict[str, Watched] = {}
        self._latest: str | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    # Asking for a run

    def check(self, request: TrainingRequest) -> list[tuple[str, str]]:
        """Return all that makes a request impossible, as (field, sentence); waits for the model."""
        try:
            model = self._model()
        except AppError as problem:
            return [("model", str(problem)), *check_request(request, None, self._taken())]
        return check_request(request, model, self._taken())

    def preflight(self, request: TrainingRequest) -> list[Finding]:
        """Look over pictures and name for what training could suffer from; waits for the model."""
        return preflight_request(request, self._model(), self._taken())

    def captions(self, request: TrainingRequest, count: int = 10) -> list[str]:
        """Return captions as a run of this request would use them; AppError for bad pictures."""
        pictures = [read_picture(path) for path in request.pictures]
        return examples(request.recipe, pictures, request.name, request.initializer, count)

    def _taken(self) -> set[str]:
        """Names of the embeddings there are, and of those that waiting runs will make."""
        with self._changed:
            coming = {
                watched.record.name
                for watched in self._watched.values()
                if watched.status.state in ("queued", *RUNNING)
            }
        return {*self._names_in_use(), *coming}

    def start(self, request: TrainingRequest) -> str:
        """Queue a run and return its id; raises BadField for the first problem ``check`` finds."""
        for name, message in self.check(request):
            raise BadField(name, message)
        model = self._model()
        run = Run.create(
            self._folder,
            request.name,
            request.initializer.strip(),
            request.recipe,
            request.pictures,
            (model.name, model.short_hash),
            request.overwrite,
        )
        self._enqueue(run)
        return run.run_id

    def _enqueue(self, run: Run) -> None:
        with self._changed:
            if self._closing:
                raise AppError("The app is closing; start the run again when it is back.")
            watched = self._watch(run.run_id)
            watched.order = None
            self._latest = run.run_id
            self._set(watched, Status("queued", "Waiting for its turn."))
            self._queue.append(run.run_id)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="training", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    # Steering and watching

    def stop(self, run_id: str, keep: bool) -> None:
        """End a run; with ``keep`` its best vectors so far are installed."""
        with self._changed:
            watched = self._watch(run_id)
            state = watched.status.state
            if state in RUNNING:
                watched.order = "keep" if keep else "discard"
                self._touch(watched)
                return
            if run_id in self._queue:
                self._queue.remove(run_id)
            if state not in ("queued", *RESUMABLE):
                return
            self._set(watched, Status("stopped", "Stopped."))
        if keep:
            state = watched.run.read_state()
            if not state or not state["best_vectors"]:
                raise AppError("The run has learned nothing yet that could be kept.")
            self.install_step(run_id, state["best_step"])

    def pause(self, run_id: str) -> None:
        """Save a run and let it rest; the next one in the queue takes its place."""
        with self._changed:
            watched = self._watch(run_id)
            if watched.status.state == "queued":
                self._queue.remove(run_id)
                self._set(watched, Status("paused", "Paused before its first step."))
            elif watched.status.state in ("preparing", "training"):
                watched.order = "pause"
                self._set(watched, Status("pausing", "Saving, then it rests."))

    def resume(self, run_id: str) -> None:
        """Queue a run that was paused, stopped or cut short; it goes on exactly where it was."""
        with self._changed:
            watched = self._watch(run_id)
            if watched.status.state not in RESUMABLE:
                raise AppError(f"The run is {watched.status.state}; there is nothing to resume.")
        self._enqueue(watched.run)

    def install_step(self, run_id: str, step: int) -> Path:
        """Install the vectors of a step that was kept; they replace what the run installed."""
        with self._changed:
            watched = self._watch(run_id)
        vectors = watched.run.read_checkpoint(step)
        path = self._install_vectors(watched, vectors, step)
        with self._changed:
            self._set(
                watched,
                replace(watched.status, installed=str(path), message=f"Step {step} is installed."),
            )
        return path

    def draw_previews(self, run_id: str, step: int) -> list[Path]:
        """Draw a kept step's previews, as the run draws them at other steps; else as below."""
        run, record = self._run_of(run_id)
        asked = [
            (run.preview_path(step, number), prompt.replace(NAME, record.name))
            for number, prompt in enumerate(record.recipe.preview_prompts)
        ]
        return self._draw_step(run, record, step, asked)

    def draw_strengths(self, run_id: str, step: int) -> list[Path]:
        """Draw the run's first preview prompt with a kept step at each of ``STRENGTHS``.

        Waits for the device. Pictures that were drawn before are not drawn again. Raises AppError
        if the step was not kept, or another model is loaded.
        """
        run, record = self._run_of(run_id)
        prompt = (record.recipe.preview_prompts or (NAME,))[0]
        asked = [
            (
                run.folder / "strengths" / f"step-{step:06d}-{strength:g}.png",
                prompt.replace(NAME, f"({record.name}:{strength:g})"),
            )
            for strength in STRENGTHS
        ]
        return self._draw_step(run, record, step, asked)

    def _draw_step(
        self, run: Run, record: Record, step: int, asked: Sequence[tuple[Path, str]]
    ) -> list[Path]:
        from webui.training.session import embedding_of

        if self._model().short_hash != record.model_hash:
            raise AppError(f"This run was trained on {record.model_name}; load it first.")
        embedding = embedding_of(record, run.read_checkpoint(step), step)
        for path, prompt in asked:
            if not path.is_file():
                (image,) = self._draw([prompt], embedding, record.recipe.seed)
                with replacing(path) as temporary:
                    image.save(temporary, "PNG")
        return [path for path, _ in asked]

    def _run_of(self, run_id: str) -> tuple[Run, Record]:
        with self._changed:
            watched = self._watch(run_id)
        return watched.run, watched.record

    def view(self, run_id: str | None = None) -> RunView | None:
        """Return how a run stands, or the current or latest one; None if there is none."""
        with self._changed:
            chosen = run_id or self._current()
            if chosen is None:
                return None
            return self._watch(chosen).view()

    def runs(self) -> list[RunSummary]:
        """Return all runs, the latest first; folders that cannot be read are left out."""
        summaries = []
        for run in list_runs(self._folder):
            try:
                with self._changed:
                    summaries.append(self._watch(run.run_id).summary())
            except AppError as problem:
                log.warning("skipped a run: %s", problem)
        return summaries

    def close(self, timeout_s: float = 30.0) -> None:
        """Save the run that is going on, and end the thread; the run can be resumed later."""
        with self._changed:
            self._closing = True
            for watched in self._watched.values():
                if watched.status.state in RUNNING and watched.order is None:
                    watched.order = "pause"
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout_s)

    # The worker

    def _work(self) -> None:
        """Carry out queued runs one after another until there are none, or the app closes."""
        while True:
            with self._changed:
                if self._closing or not self._queue:
                    self._thread = None
                    return
                watched = self._watch(self._queue.popleft())
                self._set(watched, Status("preparing", "Waiting for the model."))
            status = self._carry_out(watched)
            with self._changed:
                watched.order = None
                self._set(watched, status)

    def _carry_out(self, watched: Watched) -> Status:
        """Train one run; whatever happens, return how it stands then."""
        run, before = watched.run, watched.status.installed
        try:
            from webui.training.session import carry_out

            outcome = carry_out(run, self._model(), _Host(self, watched))
            if outcome.state == "paused":
                return Status("paused", "Paused; resume it to go on.", installed=before)
            if outcome.vectors is None:
                return Status("stopped", "Stopped; nothing was installed.", installed=before)
            path = self._install_vectors(watched, outcome.vectors, outcome.step)
            message = f"Step {outcome.step} is installed as “{watched.record.name}”."
            return Status("finished", message, installed=str(path))
        except AppError as problem:
            return Status("failed", "It can be resumed.", str(problem), before)
        except Exception as problem:
            log.exception("the training run %s failed", run.run_id)
            return Status("failed", "It can be resumed.", _in_words(problem), before)

    def _install_vectors(self, watched: Watched, vectors: Mapping[str, Any], step: int) -> Path:
        from webui.training.session import embedding_of, metadata_of

        record, installed = watched.record, watched.status.installed
        embedding = embedding_of(record, vectors, step)
        may_replace = record.overwrite or installed is not None
        return self._install(embedding, metadata_of(record, embedding), may_replace)

    def _current(self) -> str | None:
        """The run that is going on, else the one last asked for, else the latest on the disk."""
        for run_id, watched in self._watched.items():
            if watched.status.state in RUNNING:
                return run_id
        if self._latest is None:
            found = list_runs(self._folder)
            return found[0].run_id if found else None
        return self._latest

    def _watch(self, run_id: str) -> Watched:
        if run_id not in self._watched:
            run = next((run for run in list_runs(self._folder) if run.run_id == run_id), None)
            if run is None:
                raise AppError(f"There is no training run “{run_id}”.")
            watched = Watched(run)
            if watched.status.state in ("queued", *RUNNING):
                message = "The app was closed during this run; resume it to go on."
                watched.status = replace(watched.status, state="paused", message=message)
            self._watched[run_id] = watched
        return self._watched[run_id]

    def _set(self, watched: Watched, status: Status) -> None:
        watched.status = status
        if status.state not in RUNNING:
            watched.eta_s = watched.steps_per_s = None
        self._touch(watched)
        try:
            watched.run.set_status(status)
        except OSError as problem:
            log.error("the state of %s could not be written: %s", watched.run.run_id, problem)

    def _touch(self, watched: Watched) -> None:
        watched.touch()
        self._changed.notify_all()


class _Host:
    """Ties one session to the gate and to those who watch."""

    def __init__(self, runs: TrainingRuns, watched: Watched) -> None:
        self._runs = runs
        self._watched = watched
        self.draw = runs._draw

    def order(self) -> Order | None:
        return self._watched.order

    def hold(self, who: str) -> AbstractContextManager[None]:
        finishing = self._watched.status.state == "finishing"
        given_up = (lambda: False) if finishing else (lambda: self.order() is not None)
        return self._runs._gate.hold(who, given_up)

    def say(self, state: str, message: str) -> None:
        with self._runs._changed:
            watched = self._watched
            if state in ("preparing", "training") and watched.status.state == "pausing":
                return
            self._runs._set(watched, Status(state, message, installed=watched.status.installed))

    def tell(self, event: Mapping[str, Any]) -> None:
        self._watched.run.log_event(event)
        with self._runs._changed:
            self._watched.curves.apply(event)
            self._runs._touch(self._watched)

    def pace(self, steps_per_s: float, eta_s: float) -> None:
        with self._runs._changed:
            self._watched.steps_per_s, self._watched.eta_s = steps_per_s, eta_s
            self._runs._touch(self._watched)


def _in_words(problem: Exception) -> str:
    """Say what an unforeseen exception means for people."""
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
        return "The disk is full. Make room, then resume the run."
    if type(problem).__name__ == "OutOfMemoryError" or isinstance(problem, MemoryError):
        return (
            "There is not enough memory for this recipe. Use the Low VRAM preset or a smaller "
            "batch; or free memory, then resume the run."
        )
    return f"Unexpected error ({type(problem).__name__}); the log says more."
