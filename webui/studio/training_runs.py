"""Training in the background: a queue of runs, steered by people, and the thread that works."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.errors import AppError, BadField
from webui.files import replacing
from webui.studio.gpu import GpuGate
from webui.studio.training_host import Draw, TrainingHost, in_words
from webui.studio.watched_runs import WatchedRuns
from webui.training.captions import NAME, examples, preview_of
from webui.training.dataset import read_picture
from webui.training.preflight import Finding
from webui.training.request import TrainingRequest, check_request, preflight_request
from webui.training.runs.run_folder import Record, Run, Status
from webui.training.runs.run_state import RESUMABLE, RUNNING, RunSnapshot, RunState, RunSummary

if TYPE_CHECKING:
    from webui.embeddings.embedding import Embedding
    from webui.models.model import Model

log = logging.getLogger(__name__)

STRENGTHS = (0.6, 0.8, 1.0, 1.2)
"""Weights at which a step is shown side by side."""


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
        self._runs = WatchedRuns(folder)
        self._gate = gate
        self._model = model
        self._draw = draw
        self._install = install
        self._names_in_use = names_in_use
        self._changed = self._runs.changed
        self._queue: deque[str] = deque()
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
        return {*self._names_in_use(), *self._runs.coming()}

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
            watched = self._runs.get(run.run_id)
            watched.order = None
            self._runs.latest = run.run_id
            self._runs.set(watched, Status("queued", "Waiting for its turn."))
            self._queue.append(run.run_id)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="training", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    # Steering and watching

    def stop(self, run_id: str, keep: bool) -> None:
        """End a run; with ``keep`` its best vectors so far are installed."""
        with self._changed:
            watched = self._runs.get(run_id)
            state = watched.status.state
            if state in RUNNING:
                watched.order = "keep" if keep else "discard"
                self._runs.touch(watched)
                return
            if run_id in self._queue:
                self._queue.remove(run_id)
            if state not in ("queued", *RESUMABLE):
                return
            self._runs.set(watched, Status("stopped", "Stopped."))
        if keep:
            state = watched.run.read_state()
            if not state or not state["best_vectors"]:
                raise AppError("The run has learned nothing yet that could be kept.")
            self.install_step(run_id, state["best_step"])

    def pause(self, run_id: str) -> None:
        """Save a run and let it rest; the next one in the queue takes its place."""
        with self._changed:
            watched = self._runs.get(run_id)
            if watched.status.state == "queued":
                self._queue.remove(run_id)
                self._runs.set(watched, Status("paused", "Paused before its first step."))
            elif watched.status.state in ("preparing", "training"):
                watched.order = "pause"
                self._runs.set(watched, Status("pausing", "Saving, then it rests."))

    def resume(self, run_id: str) -> None:
        """Queue a run that was paused, stopped or cut short; it goes on exactly where it was."""
        with self._changed:
            watched = self._runs.get(run_id)
            if watched.status.state not in RESUMABLE:
                raise AppError(f"The run is {watched.status.state}; there is nothing to resume.")
        self._enqueue(watched.run)

    def install_step(self, run_id: str, step: int) -> Path:
        """Install the vectors of a step that was kept; they replace what the run installed."""
        with self._changed:
            watched = self._runs.get(run_id)
        vectors = watched.run.read_checkpoint(step)
        path = self._install_vectors(watched, vectors, step)
        with self._changed:
            self._runs.set(
                watched,
                replace(watched.status, installed=str(path), message=f"Step {step} is installed."),
            )
        return path

    def draw_previews(self, run_id: str, step: int) -> list[Path]:
        """Draw a kept step's previews, as the run draws them at other steps; else as below."""
        run, record = self._run_of(run_id)
        asked = [
            (run.preview_path(step, number), preview_of(record.recipe, prompt, record.name))
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
                preview_of(record.recipe, prompt, f"({record.name}:{strength:g})"),
            )
            for strength in STRENGTHS
        ]
        return self._draw_step(run, record, step, asked)

    def _draw_step(
        self, run: Run, record: Record, step: int, asked: Sequence[tuple[Path, tuple[str, str]]]
    ) -> list[Path]:
        from webui.training.runs.runner import embedding_of

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
            watched = self._runs.get(run_id)
        return watched.run, watched.record

    def view(self, run_id: str | None = None) -> RunSnapshot | None:
        """Return how a run stands, or the current or latest one; None if there is none."""
        return self._runs.view(run_id)

    def runs(self) -> list[RunSummary]:
        """Return all runs, the latest first; folders that cannot be read are left out."""
        return self._runs.summaries()

    def close(self, timeout_s: float = 30.0) -> None:
        """Save the run that is going on, and end the thread; the run can be resumed later."""
        with self._changed:
            self._closing = True
            for watched in self._runs.running():
                watched.order = watched.order or "pause"
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
                watched = self._runs.get(self._queue.popleft())
                self._runs.set(watched, Status("preparing", "Waiting for the model."))
            status = self._carry_out(watched)
            with self._changed:
                watched.order = None
                self._runs.set(watched, status)

    def _carry_out(self, watched: RunState) -> Status:
        """Train one run; whatever happens, return how it stands then."""
        run = watched.run
        try:
            from webui.training.runs.runner import carry_out

            host = TrainingHost(self._runs, watched, self._gate, self._draw)
            outcome = carry_out(run, self._model(), host)
            before = watched.status.installed  # a step may have been installed meanwhile
            if outcome.state == "paused":
                return Status("paused", "Paused; resume it to go on.", installed=before)
            if outcome.vectors is None:
                nothing = "" if before else "; nothing was installed"
                return Status("stopped", f"Stopped{nothing}.", installed=before)
            path = self._install_vectors(watched, outcome.vectors, outcome.step)
            message = f"Step {outcome.step} is installed as “{watched.record.name}”."
            return Status("finished", message, installed=str(path))
        except AppError as problem:
            return Status("failed", "It can be resumed.", str(problem), watched.status.installed)
        except Exception as problem:
            log.exception("the training run %s failed", run.run_id)
            installed = watched.status.installed
            return Status("failed", "It can be resumed.", in_words(problem), installed)

    def _install_vectors(self, watched: RunState, vectors: Mapping[str, Any], step: int) -> Path:
        from webui.training.runs.runner import embedding_of, metadata_of

        record, installed = watched.record, watched.status.installed
        embedding = embedding_of(record, vectors, step)
        may_replace = record.overwrite or installed is not None
        return self._install(embedding, metadata_of(record, embedding), may_replace)
