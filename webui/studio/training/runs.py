"""Training in the background: a queue of runs, steered by people, and the thread that works."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from webui.errors import AppError, BadField, Interrupted
from webui.job_state import JobState
from webui.studio.gpu import GpuGate
from webui.studio.training.checkpoints import Checkpoints, Draw
from webui.studio.training.host import RunHost, in_words
from webui.studio.training.installing import Install, Installer, lora_taken
from webui.studio.training.trials import Trials
from webui.training.captions import examples, initializer_pieces
from webui.training.dataset import PictureCache, read_pictures
from webui.training.learned.concepts import names_in, title_of
from webui.training.preflight import Finding
from webui.training.request import (
    TrainingRequest,
    check_request,
    name_problem,
    name_suggestion,
    preflight_request,
)
from webui.training.runs.run_folder import InstalledFile, Run, Status, list_runs
from webui.training.runs.run_state import RunSnapshot, RunState, RunStates

if TYPE_CHECKING:
    from webui.embeddings.embedding import Embedding
    from webui.models.model import Model
    from webui.training.learned.step import ByName

log = logging.getLogger(__name__)


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
        install: Install,
        loras: Path,
        names_in_use: Callable[[], Collection[str]],
        show: Callable[[str, Path, bool], None],
        find: Callable[[str], Embedding],
    ) -> None:
        """``loras`` is the folder of LoRA files. ``show`` is given an installed embedding's name,
        an image of it for its card, and whether that takes the place of another. ``find`` returns
        the embedding of a name or a file, or raises AppError."""
        self._folder = folder
        self.pictures = PictureCache()
        """The pictures of runs that are asked for, shared with whoever shows them."""
        self.trials = Trials(gate, model, draw, self.pictures.read)
        self._runs = RunStates(folder)
        self._gate = gate
        self._model = model
        self._draw = draw
        self._checkpoints = Checkpoints(model, draw)
        self._installer = Installer(install, loras)
        self._names_in_use = names_in_use
        self._show = show
        self._find = find
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
            return [
                ("model", str(problem)),
                *check_request(request, None, self._taken(), self.pictures.read),
            ]
        problems = check_request(request, model, self._taken(), self.pictures.read)
        try:
            self._start_of(request, model)
        except AppError as problem:
            problems.append(("continue_from", str(problem)))
        title = title_of(request.names)
        if request.recipe.lora_rank and not request.overwrite and self._installer.has_lora(title):
            problems.append(("name", lora_taken(title)))
        return problems

    def _start_of(self, request: TrainingRequest, model: Model) -> ByName | None:
        """Return the vectors that a run continues from, if any; AppError if it cannot."""
        from webui.training.score import check_fit

        if not request.recipe.continue_from:
            return None
        sources: tuple[str, ...] = (request.recipe.continue_from,)
        if len(request.names) > 1:
            sources = names_in(request.recipe.continue_from)
        if len(sources) != len(request.names):
            raise AppError(
                f"The run learns {len(request.names)} names; say for each of them which embedding "
                "it continues from, with commas between them."
            )
        start = {}
        for name, source in zip(request.names, sources, strict=True):
            embedding = self._find(source)
            check_fit(embedding, model)
            start[name] = {key: embedding.vectors[key] for key in model.widths}
        return start

    def preflight(self, request: TrainingRequest) -> list[Finding]:
        """Look over pictures and name for what training could suffer from; waits for the model."""
        return preflight_request(request, self._model(), self._taken(), self.pictures.read)

    def look_at_name(self, name: str, overwrite: bool) -> tuple[str, str]:
        """Return why embeddings cannot have a name, or several with commas between them, and what
        they can be called; "" for neither.

        Waits for the model.
        """
        tokenizer, taken = self._model().tokenizer, self._taken()
        names = names_in(name)
        wrong = [name_problem(each, tokenizer, taken, overwrite) for each in names]
        near = [
            name_suggestion(each, tokenizer, taken) if problem else each
            for each, problem in zip(names, wrong, strict=True)
        ]
        said = " ".join(problem for problem in wrong if problem)
        return said, ", ".join(filter(None, near)) if said and all(near) else ""

    def initializer_pieces(self, text: str) -> list[str]:
        """Return the pieces that the model reads an initializer as; waits for the model."""
        return initializer_pieces(self._model().tokenizer, text)

    def captions(self, request: TrainingRequest, count: int = 10) -> list[str]:
        """Return captions as a run of this request would use them; AppError for bad pictures."""
        pictures = read_pictures(request.pictures, self.pictures.read, request.names)
        return examples(request.recipe, pictures, request.concepts, count)

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
            read_pictures(request.pictures, self.pictures.read, request.names),
            (model.name, model.short_hash),
            request.overwrite,
            self._start_of(request, model),
            self.pictures.copied,
        )
        self._enqueue(run)
        return run.run_id

    def _enqueue(self, run: Run) -> None:
        with self._changed:
            if self._closing:
                raise AppError("The app is closing; start the run again when it is back.")
            run_state = self._runs.get(run.run_id)
            run_state.order, run_state.phases = None, ()
            self._runs.latest = run.run_id
            self._runs.say(run_state, JobState.QUEUED, "Waiting for its turn.")
            self._queue.append(run.run_id)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="training", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    # Steering and watching

    def stop(self, run_id: str, keep: bool) -> None:
        """End a run; with ``keep`` its best vectors so far are installed."""
        with self._changed:
            run_state = self._runs.own(run_id)
            state = run_state.status.state
            if state.running:
                run_state.order = "keep" if keep else "discard"
                self._runs.touch(run_state)
                return
            if run_id in self._queue:
                self._queue.remove(run_id)
            if state is JobState.FINISHED:
                return
            self._runs.say(run_state, JobState.STOPPED, "Stopped.")
        if keep:
            self.install_best(run_id)

    def pause(self, run_id: str) -> None:
        """Save a run and let it rest; the next one in the queue takes its place."""
        with self._changed:
            run_state = self._runs.own(run_id)
            if run_state.status.state is JobState.QUEUED:
                self._queue.remove(run_id)
                self._runs.say(run_state, JobState.PAUSED, "Paused before its first step.")
            elif run_state.status.state in (JobState.PREPARING, JobState.TRAINING):
                run_state.order = "pause"
                self._runs.say(run_state, JobState.PAUSING, "Saving, then pausing.")

    def resume(self, run_id: str) -> None:
        """Queue a run that was paused, stopped or cut short; it goes on exactly where it was."""
        with self._changed:
            run_state = self._runs.own(run_id)
            if not run_state.status.state.resumable:
                raise AppError(f"The run is {run_state.status.state}; there is nothing to resume.")
        self._enqueue(run_state.run)

    def install_step(self, run_id: str, step: int, name: str = "") -> list[Path]:
        """Install the vectors of a step that was kept; they replace what the run installed.

        Of several names only those of ``name`` are, if it is given.
        """
        names = self.view(run_id).record.names
        if name and name not in names:
            raise AppError(f"The run learns {', '.join(names)}, not “{name}”.")
        return self._install(run_id, dict.fromkeys((name,) if name else names, step))

    def _install(self, run_id: str, steps: Mapping[str, int]) -> list[Path]:
        """Install a kept step of each of some names, and the LoRA if one step is that of all."""
        with self._changed:
            run_state = self._runs.get(run_id)
        names, lora = run_state.record.names, run_state.status.lora
        files: list[InstalledFile] = []
        said = []
        for step in dict.fromkeys(steps.values()):
            own = [name for name in steps if steps[name] == step]
            learned = run_state.run.read_checkpoint(step)
            files += self._installer.embeddings(run_state, learned, own)
            if len(own) == len(names):
                lora = self._installer.lora(run_state, learned)
                said.append(f"Step {step} is installed.")
            else:
                said += [f"Step {step} of “{name}” is installed." for name in own]
        with self._changed:
            status = replace(run_state.status, message=" ".join(said), lora=lora)
            for file in files:
                status = status.with_installed(names, file)
            self._runs.set(run_state, status)
        return [Path(file.path) for file in files]

    def draw_previews(self, run_id: str, step: int) -> list[Path]:
        """Draw a kept step's previews; see ``Checkpoints``."""
        return self._checkpoints.draw_previews(self._run_of(run_id), step)

    def draw_strengths(self, run_id: str, step: int) -> list[tuple[str, Path]]:
        """Draw a kept step at several strengths; see ``Checkpoints``."""
        return self._checkpoints.draw_strengths(self._run_of(run_id), step)

    def _run_of(self, run_id: str) -> Run:
        with self._changed:
            return self._runs.get(run_id).run

    def view(self, run_id: str) -> RunSnapshot:
        """Return how a run stands; AppError if there is none of this id."""
        return self._runs.view(run_id)

    def current(self) -> RunSnapshot | None:
        """Return the run that is going on, else the one asked for last, else the latest, if any."""
        return self._runs.current()

    def runs(self) -> list[RunSnapshot]:
        """Return all runs, the latest first; folders that cannot be read are left out."""
        return self._runs.views()

    def version(self) -> tuple[int, int]:
        """Return what differs whenever the list of runs would."""
        return self._runs.version, len(list_runs(self._folder))

    def queue(self) -> tuple[str, ...]:
        """Return the ids of the runs that wait, in the order of their turns."""
        with self._changed:
            return tuple(self._queue)

    def discard(self, run_id: str) -> None:
        """Move a run that has ended to the trash; the embedding that it installed stays."""
        self._runs.discard(run_id)

    def restore(self, run_id: str) -> None:
        """Bring a run back from the trash."""
        self._runs.restore(run_id)

    def install_best(self, run_id: str) -> list[Path]:
        """Install the step that has measured best so far of each name, as ``install_step`` does."""
        names = self.view(run_id).record.names
        return self._install(run_id, {name: self.best_step(run_id, name) for name in names})

    def best_step(self, run_id: str, name: str = "") -> int:
        """Return the kept step that has measured best so far of a name, or over all names.

        Raises AppError if there is none.
        """
        view = self.view(run_id)
        if not view.checkpoints:
            raise AppError("The run has learned nothing yet that could be installed.")
        names = view.record.names
        best = view.kept[names.index(name)] if name in names else view.best
        return best if best in view.checkpoints else view.checkpoints[-1]

    def updates(self, run_id: str, patience_s: float = 1.0) -> Iterator[RunSnapshot]:
        """Yield how a run stands whenever that changed, and at least every ``patience_s`` seconds.

        It ends with the run.
        """
        view = None
        while view is None or not view.state.ended:
            with self._changed:
                if view is not None and view.version == self._runs.get(run_id).version:
                    self._changed.wait(patience_s)
                view = self._runs.get(run_id).view()
            yield view

    def wait(self, run_id: str) -> RunSnapshot:
        """Return how a run stands once it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._runs.get(run_id).status.state.ended)
            return self._runs.get(run_id).view()

    def close(self, timeout_s: float = 30.0) -> None:
        """Save the run that is going on, and end the thread; the run can be resumed later."""
        with self._changed:
            self._closing = True
            for run_state in self._runs.running():
                run_state.order = run_state.order or "pause"
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
                run_state = self._runs.get(self._queue.popleft())
                self._runs.say(run_state, JobState.PREPARING, "Waiting for the model.")
            status = self._carry_out(run_state)
            with self._changed:
                run_state.order = None
                self._runs.set(run_state, status)

    def _carry_out(self, run_state: RunState) -> Status:
        """Train one run; whatever happens, return how it stands then."""
        run = run_state.run
        try:
            from webui.training.runs.runner import carry_out

            model = self._model()
            host = RunHost(self._runs, run_state, self._gate, model, self._draw, self.trials)
            with run.claim():
                outcome = carry_out(run, model, host, self.pictures.read)
            now = partial(replace, run_state.status)  # a step may have been installed meanwhile
            if outcome.state is JobState.PAUSED:
                return now(state=JobState.PAUSED, message="Paused. Press Resume.")
            if outcome.learned is None:
                nothing = "" if run_state.status.installed else "; nothing was installed"
                return now(state=JobState.STOPPED, message=f"Stopped{nothing}.")
            names = run_state.record.names
            files = self._installer.embeddings(run_state, outcome.learned, names)
            lora = self._installer.lora(run_state, outcome.learned)
            steps = [each.step or 0 for each in outcome.learned.embeddings]
            self._show_on_cards(run_state, steps)
            return Status(JobState.FINISHED, _installed(names, steps), None, files, lora)
        except AppError as problem:
            said = str(problem)
        except Exception as problem:
            log.exception("the training run %s failed", run.run_id)
            said = in_words(problem)
        return replace(
            run_state.status, state=JobState.FAILED, message="It can be resumed.", problem=said
        )

    def _show_on_cards(self, run_state: RunState, steps: Sequence[int]) -> None:
        """Give each card the picture that the installed step of its name draws.

        A run does not fail for it.
        """
        recipe = run_state.record.recipe
        if not recipe.preview_every or not recipe.preview_prompts:
            return
        with self._changed:
            self._runs.say(run_state, JobState.FINISHING, "Drawing its card's image.")
        try:
            drawn = self._checkpoints.draw_of_each_name(run_state.run, steps)
            for name, image in drawn.items():
                self._show(name, image, run_state.record.overwrite)
        except Interrupted:
            return
        except Exception:  # whatever drawing may meet, the embedding is installed
            log.exception("The card of %s got no image.", run_state.record.name)


def _installed(names: Sequence[str], steps: Sequence[int]) -> str:
    """Say which step of each name is installed now."""
    said = []
    for step in dict.fromkeys(steps):
        own = (name for name, at in zip(names, steps, strict=True) if at == step)
        said.append(f"Step {step} is installed as {' and '.join(f'“{name}”' for name in own)}.")
    return " ".join(said)
