"""Training in the background: a queue of runs, steered by people, and the thread that works."""

from __future__ import annotations

import errno
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.errors import AppError, BadField, Interrupted
from webui.files import contained, room_on_disk, write_whole
from webui.job_state import JobState
from webui.models.families import family_of_widths
from webui.prompting.loras import list_loras
from webui.studio.checkpoints import Checkpoints, Draw
from webui.studio.gpu import GpuGate
from webui.training.captions import examples, initializer_pieces
from webui.training.crops import make_crops
from webui.training.dataset import ENOUGH, Picture, PictureCache, read_pictures
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
from webui.training.runs.run_state import Order, Phase, RunSnapshot, RunState, RunStates

if TYPE_CHECKING:
    from PIL import Image

    from webui.embeddings.embedding import Embedding
    from webui.models.model import Model
    from webui.training.learned.step import ByName, LearnedStep
    from webui.training.recipe import Recipe
    from webui.training.trials.drawable import Comparison, OwnPictures
    from webui.training.trials.latents import LatentCache
    from webui.training.trials.words import Trial

log = logging.getLogger(__name__)

PLAIN_LORA = "lora.safetensors"
"""The LoRA in a run's folder, without embeddings, for programs that read it with none, such as
diffusers."""


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
        self._runs = RunStates(folder)
        self._gate = gate
        self._model = model
        self._draw = draw
        self._checkpoints = Checkpoints(model, draw)
        self._install = install
        self._loras = loras
        self._names_in_use = names_in_use
        self._show = show
        self._find = find
        self._changed = self._runs.changed
        self._kept_latents: LatentCache | None = None
        self._own_pictures: OwnPictures | None = None
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
        if request.recipe.lora_rank and not request.overwrite and self._lora_called(title):
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

    def drawable(self, recipe: Recipe, pictures: Sequence[Path]) -> list[Finding]:
        """Look whether the model can draw such pictures at all; waits for it, and draws a few."""
        from webui.training.trials.drawable import drawable

        model = self._model()
        shown = read_pictures(pictures, self.pictures.read)
        return drawable(model, self._compare(model, recipe, shown))

    def _compare(
        self, model: Model, recipe: Recipe, pictures: Sequence[Picture]
    ) -> Comparison | None:
        """Compare pictures with such as the model draws itself; waits for the device."""
        from webui.training.trials.drawable import OwnPictures, compare

        with self._changed:
            own = self._own_pictures = self._own_pictures or OwnPictures()

        def draw(prompts: Sequence[str]) -> list[Image.Image]:
            return self._draw(model, [(prompt, "") for prompt in prompts], None, 0)

        return compare(model, recipe, pictures, own, draw, self._gate.hold, self._latents())

    def suggest(self, recipe: Recipe, pictures: Sequence[Path]) -> Iterator[Trial]:
        """Try words as initializers on pictures, a batch a time; the last answer has the best.

        Images that are asked for meanwhile are drawn between two batches. Waits for the model;
        raises AppError for bad pictures.
        """
        from webui.training.trials.words import suggest

        shown = read_pictures(pictures, self.pictures.read)
        yield from suggest(self._model(), recipe, shown, self._latents(), self._gate.hold)

    def what_counts(self, request: TrainingRequest) -> list[tuple[Image.Image, str]]:
        """Return the first images as they are cut, what hardly counts in them made grey, and their
        names; waits for the model. AppError for bad pictures."""
        from webui.training.setup import buckets_of, side_of
        from webui.training.trials.where import shaded, with_soft_mask

        model, latents, recipe = self._model(), self._latents(), request.recipe
        concepts = request.concepts
        pictures = read_pictures(request.pictures, self.pictures.read, request.names)[:ENOUGH]
        sizes = (side_of(recipe, model), buckets_of(recipe, model))
        shown: list[tuple[Image.Image, str]] = []
        for picture in pictures:
            position = recipe.crop_positions[len(shown) : len(shown) + 1]
            (crop,) = make_crops([picture], sizes[0], positions=position, buckets=sizes[1])
            if recipe.find_thing:
                with self._gate.hold("looking at images"):
                    words = concepts[picture.concept].initializer
                    crop = with_soft_mask(model, crop, latents.moments(model, crop), words)
            mask = crop.mask if recipe.use_mask else None
            shown.append((shaded(crop.image, mask), picture.path.name))
        return shown

    def _latents(self) -> LatentCache:
        """Return what is kept of encoded pictures."""
        from webui.training.trials.latents import LatentCache

        with self._changed:
            self._kept_latents = self._kept_latents or LatentCache()
            return self._kept_latents

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
            saved = run_state.run.read_state()
            if not saved or not saved["best_vectors"]:
                raise AppError("The run has learned nothing yet that could be kept.")
            self.install_step(run_id, saved["best_step"])

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
        with self._changed:
            run_state = self._runs.get(run_id)
        names = run_state.record.names
        if name and name not in names:
            raise AppError(f"The run learns {', '.join(names)}, not “{name}”.")
        learned = run_state.run.read_checkpoint(step)
        files = self._install_learned(run_state, learned, (name,) if name else names)
        lora = run_state.status.lora if name else self._install_lora(run_state, learned)
        of_it = f" of “{name}”" if name and len(names) > 1 else ""
        with self._changed:
            message = f"Step {step}{of_it} is installed."
            status = replace(run_state.status, message=message, lora=lora)
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
        """Install the step that has measured best so far, as ``install_step`` does."""
        return self.install_step(run_id, self.best_step(run_id))

    def best_step(self, run_id: str) -> int:
        """Return the kept step that has measured best so far; AppError if there is none."""
        view = self.view(run_id)
        if not view.checkpoints:
            raise AppError("The run has learned nothing yet that could be installed.")
        return view.best if view.best in view.checkpoints else view.checkpoints[-1]

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
            draw, compare = partial(self._draw, model), partial(self._compare, model)
            host = _Host(self._runs, run_state, self._gate, draw, compare)
            with run.claim():
                outcome = carry_out(run, model, host, self.pictures.read)
            now = partial(replace, run_state.status)  # a step may have been installed meanwhile
            if outcome.state is JobState.PAUSED:
                return now(state=JobState.PAUSED, message="Paused. Press Resume.")
            if outcome.learned is None:
                nothing = "" if run_state.status.installed else "; nothing was installed"
                return now(state=JobState.STOPPED, message=f"Stopped{nothing}.")
            names, step = run_state.record.names, outcome.learned.step
            files = self._install_learned(run_state, outcome.learned, names)
            lora = self._install_lora(run_state, outcome.learned)
            self._show_on_cards(run_state, step)
            called = " and ".join(f"“{name}”" for name in names)
            message = f"Step {step} is installed as {called}."
            return Status(JobState.FINISHED, message, None, files, lora)
        except AppError as problem:
            said = str(problem)
        except Exception as problem:
            log.exception("the training run %s failed", run.run_id)
            said = in_words(problem)
        return replace(
            run_state.status, state=JobState.FAILED, message="It can be resumed.", problem=said
        )

    def _show_on_cards(self, run_state: RunState, step: int) -> None:
        """Give each card the picture that the installed step draws; a run does not fail for it."""
        recipe = run_state.record.recipe
        if not recipe.preview_every or not recipe.preview_prompts:
            return
        with self._changed:
            self._runs.say(run_state, JobState.FINISHING, "Drawing its card's image.")
        try:
            for name, image in self._checkpoints.draw_of_each_name(run_state.run, step).items():
                self._show(name, image, run_state.record.overwrite)
        except Interrupted:
            return
        except Exception:  # whatever drawing may meet, the embedding is installed
            log.exception("The card of %s got no image.", run_state.record.name)

    def _install_learned(
        self, run_state: RunState, learned: LearnedStep, names: Collection[str]
    ) -> tuple[InstalledFile, ...]:
        """Install the embeddings of these names; what the run itself installed is replaced."""
        from webui.training.runs.runner import metadata_of

        record, files = run_state.record, []
        own = {each.name for each in run_state.status.installed}
        for embedding in learned.embeddings:
            if embedding.name in names:
                may_replace = record.overwrite or embedding.name in own
                path = self._install(embedding, metadata_of(record, embedding), may_replace)
                files.append(InstalledFile(embedding.name, str(path), learned.step))
        return tuple(files)

    def _install_lora(self, run_state: RunState, learned: LearnedStep) -> InstalledFile | None:
        """Install the LoRA with the embeddings inside it, and keep it alone in the run's folder.

        What the run itself installed is replaced; other files are not, unless the person said so.
        """
        if not learned.lora:
            return None
        from webui.training.learned.lora import BASES, file_of
        from webui.training.runs.runner import metadata_of

        record, before = run_state.record, run_state.status.lora
        path = self._lora_called(record.title)
        if path and not (record.overwrite or (before and Path(before.path) == path)):
            raise AppError(lora_taken(record.title))
        path = path or contained(self._loras, f"{record.title}.safetensors")
        notes = metadata_of(record, learned.embeddings[0]) | {"ss_output_name": record.title}
        family = family_of_widths(learned.embeddings[0].widths)
        if family and family.key in BASES:
            notes["ss_base_model_version"] = BASES[family.key]
        with room_on_disk():
            write_whole(run_state.run.folder / PLAIN_LORA, file_of(learned.lora, (), notes))
            write_whole(path, file_of(learned.lora, learned.embeddings, notes))
        return InstalledFile(record.title, str(path), learned.step)

    def _lora_called(self, title: str) -> Path | None:
        return list_loras(self._loras).get(title.casefold())


def lora_taken(title: str) -> str:
    """Say that there is a LoRA of this name."""
    return f"There is a LoRA “{title}” already. Choose another name, or replace it."


class _Host:
    """Ties one run to the gate and to those who watch; a ``Host`` of ``training.runs.runner``."""

    def __init__(
        self,
        runs: RunStates,
        run: RunState,
        gate: GpuGate,
        draw: Callable[
            [Sequence[tuple[str, str]], LearnedStep | None, int],
            list[Image.Image],
        ],
        compare: Callable[[Recipe, Sequence[Picture]], Comparison | None],
    ) -> None:
        self._runs, self._run, self._gate = runs, run, gate
        self.draw, self.compare = draw, compare

    def order(self) -> Order | None:
        return self._run.order

    def hold(self, who: str) -> AbstractContextManager[None]:
        finishing = self._run.status.state is JobState.FINISHING
        return self._gate.hold(who, lambda: not finishing and self._run.order is not None)

    def set_status(self, state: JobState, message: str) -> None:
        with self._runs.changed:
            pausing = self._run.status.state is JobState.PAUSING
            if state is not JobState.FINISHING and pausing:
                return
            self._runs.say(self._run, state, message)

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
