"""Carries out a run from its folder to its report; knows no threads, no gate and no UI."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from webui.errors import AppError, Interrupted
from webui.job_state import JobState
from webui.models.model import Model
from webui.training.captions import Preview, previews_of
from webui.training.dataset import ReadPicture, read_picture
from webui.training.denoising import encode_crop
from webui.training.evaluation import (
    baseline_of,
    editability,
    nearest_words,
    norm_ratio,
    prepare_eval_set,
    score_each,
)
from webui.training.learned.step import LearnedStep, learned_step
from webui.training.recipe import last_step
from webui.training.runs import leave_one_out, tracking
from webui.training.runs.report import Report, judge
from webui.training.runs.run_folder import Record, Run
from webui.training.runs.run_state import Curves, Order
from webui.training.setup import TrainingSetup, as_learned, cut_crops, prepare_setup
from webui.training.trainer import (
    Ended,
    Evaluated,
    Progress,
    RolledBack,
    Stepped,
    TrainEvent,
    begin,
    train_in_stretches,
)
from webui.training.trials.where import with_soft_mask

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from webui.embeddings.embedding import Embedding
    from webui.training.dataset import Picture
    from webui.training.evaluation import EvalSet
    from webui.training.recipe import Recipe
    from webui.training.runs.report import EvalResult
    from webui.training.trials.drawable import Comparison

log = logging.getLogger(__name__)

SAVE_EVERY_STEPS, SAVE_EVERY_S = 25, 30.0
"""A crash costs at most this much work."""
ENCODING, DRAWING = "Encoding the images", "Drawing previews"
LOOKING = "Finding the thing"
MEASURING, JUDGING = "Measuring the initializer", "Measuring what was learned"
LEAVING_OUT = "Learning again without another image"
"""Phases of a run beside its steps, in words for people."""


class Host(Protocol):
    """What a run needs of whoever carries it out."""

    def hold(self, who: str) -> AbstractContextManager[None]:
        """Wait for the device; Interrupted if an order came meanwhile."""

    def order(self) -> Order | None:
        """What the person wants done now, if anything."""

    def set_status(self, state: JobState, message: str) -> None:
        """The run is in this state now."""

    def report_phase(self, phase: str, done: int, total: int) -> None:
        """So much of what comes before the steps, or after them, is done."""

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Something happened that belongs into the log."""

    def report_speed(self, steps_per_s: float, eta_s: float) -> None:
        """How fast it goes."""

    def draw(
        self, prompts: list[tuple[str, str]], learned: LearnedStep | None, seed: int
    ) -> list[Image.Image]:
        """Draw a picture for each prompt and its negative prompt, with what was learned; waits for
        the device itself. Interrupted if an order came meanwhile."""

    def compare(self, recipe: Recipe, pictures: Sequence[Picture]) -> Comparison | None:
        """Compare pictures with the model's own; waits for the device itself. None if that would
        take too long; Interrupted if an order came meanwhile."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, or a stretch of it."""

    state: JobState
    """Paused, stopped or finished."""
    learned: LearnedStep | None = None
    """What is to be installed, if anything."""
    report: Report | None = None


def carry_out(run: Run, model: Model, host: Host, read: ReadPicture = read_picture) -> Outcome:
    """Train a run, from its beginning or from where it was saved, until it ends or is told to.

    Raises AppError for what people can mend; the run can be resumed after any exception.
    """
    record = run.record()
    if record.model_hash != model.short_hash:
        raise AppError(
            f"This run trains on {record.model_name}, but {model.name} is loaded. "
            f"Load {record.model_name} and resume the run."
        )
    try:
        host.set_status(JobState.PREPARING, "Reading the images.")
        setup = _prepare(run, record, model, host, read)
        progress = begin(setup)
        seconds = run.restore(progress)
        if progress.evaluations:
            host.log_event({"kind": "resumed", "to_step": progress.step})
            host.set_status(JobState.TRAINING, f"Going on at step {progress.step}.")
        else:
            host.set_status(JobState.TRAINING, "Drawing and measuring the initializer.")
        with _scalars(run, record, progress.step) as scalars:
            return _Runner(run, setup, progress, host, seconds, scalars).go()
    except Interrupted:
        return Outcome(JobState.PAUSED if host.order() == "pause" else JobState.STOPPED)


def _scalars(
    run: Run, record: Record, step: int
) -> AbstractContextManager[tracking.Scalars | None]:
    if not record.recipe.tensorboard:
        return nullcontext()
    if not tracking.available():
        log.warning("%s goes on. %s", run.run_id, tracking.MISSING)
        return nullcontext()
    return tracking.scalars(run.folder, step)


def _prepare(
    run: Run, record: Record, model: Model, host: Host, read: ReadPicture
) -> TrainingSetup:
    recipe, pictures = record.recipe, run.pictures(read)
    crops = cut_crops(recipe, model, pictures)
    if recipe.find_thing and recipe.use_mask:
        for number, crop in enumerate(crops):
            host.report_phase(LOOKING, number, len(crops))
            words = record.concepts[pictures[crop.picture].concept].initializer
            with host.hold("looking at images"):
                crops[number] = with_soft_mask(model, recipe, crop, words)
        host.report_phase(LOOKING, len(crops), len(crops))
    crops, moments = as_learned(recipe, crops), []
    for number, crop in enumerate(crops):
        host.report_phase(ENCODING, number, len(crops))
        with host.hold("preparing images"):
            moments.append(encode_crop(model, crop))
    host.report_phase(ENCODING, len(crops), len(crops))
    with host.hold("preparing the training"):
        return prepare_setup(
            model,
            record.recipe,
            record.name,
            record.initializer,
            pictures,
            crops,
            moments,
            run.read_start(),
        )


class _Runner:
    """One stretch of training without a break."""

    def __init__(
        self,
        run: Run,
        setup: TrainingSetup,
        progress: Progress,
        host: Host,
        seconds: float,
        scalars: tracking.Scalars | None,
    ) -> None:
        self.scalars = scalars
        self.run, self.setup, self.progress, self.host = run, setup, progress, host
        self.record = run.record()
        self.seconds = seconds
        self.began_at = progress.step
        self.stepping_s = 0.0
        """Time spent on steps alone, which tells how long those that are left take."""
        self.saved, self.saved_at = time.monotonic(), progress.step
        self.drawn = Counter(step for step, _, _ in Curves(run.events()).previews)

    def go(self) -> Outcome:
        """Train to the end or to an order; then save, and measure what is to be kept."""
        reason = "the run was stopped"
        try:
            for event in self._events():
                self._take(event)
                if isinstance(event, Ended):
                    reason = event.reason
        except Interrupted:
            pass  # waiting for the device was given up: the order says what to do
        self.run.save_progress(self.progress, self.seconds)
        if ended := self._ended():
            return ended
        if not self.progress.evaluations:
            return Outcome(JobState.STOPPED)
        self.host.set_status(JobState.FINISHING, f"{JUDGING}.")
        beside = self._compared()
        if ended := self._ended():
            return ended
        with self.host.hold("final evaluation"):
            eval_set, scores = self._scores()
        scores = self._asked_again(eval_set, scores)
        with self.host.hold("final evaluation"):
            report = self._report(reason, beside, scores)
        if self.host.order() == "discard":
            return Outcome(JobState.STOPPED)
        self.run.save_report(report.to_dict())
        progress, vectors = self.progress, self.setup.by_name(self.progress.best_vectors)
        learned = learned_step(
            progress.best_step, vectors, progress.best_lora, self.record.model, progress.kept
        )
        return Outcome(JobState.FINISHED, learned, report)

    def _events(self) -> Iterator[TrainEvent]:
        """Yield the trainer's events, holding the device for one stretch at a time."""
        stretches = train_in_stretches(
            self.setup,
            self.progress,
            measured=lambda done, total: self.host.report_phase(MEASURING, done, total),
        )
        while True:
            self._previews()
            if self.host.order():
                return
            with self.host.hold("training step"):
                started = time.monotonic()
                events = next(stretches, None)
                took_s = time.monotonic() - started
            self.seconds += took_s
            if events is None:
                return
            if isinstance(events[-1], Stepped):
                self.stepping_s += took_s
            yield from events

    def _take(self, event: TrainEvent) -> None:
        logged = as_dict(event)
        self.host.log_event(logged)
        if self.scalars:
            self.scalars.take(logged)
        progress, now = self.progress, time.monotonic()
        if isinstance(event, Evaluated):
            vectors = self.setup.by_name(progress.vectors)
            self.run.save_checkpoint(event.step, vectors, progress.lora)
            self.host.set_status(JobState.TRAINING, _sentence(event))
        elif isinstance(event, RolledBack):
            self.host.set_status(
                JobState.TRAINING,
                f"At step {event.step} {event.reason}: back to step {event.to_step}, with "
                f"{event.rate_scale:.3g} of the learning rate.",
            )
        elif isinstance(event, Stepped):
            done = progress.step - self.began_at
            per_s = done / max(1e-6, self.stepping_s)
            self.host.report_speed(per_s, (last_step(self.setup.recipe) - progress.step) / per_s)
        many = progress.step - self.saved_at >= SAVE_EVERY_STEPS
        if isinstance(event, Evaluated) or many or now - self.saved >= SAVE_EVERY_S:
            self.run.save_progress(progress, self.seconds)
            self.saved, self.saved_at = now, progress.step

    def _previews(self) -> None:
        """Draw the previews that are due; a run does not fail for want of them."""
        recipe, step = self.setup.recipe, self.progress.step
        if not recipe.preview_every:
            return
        if step % recipe.preview_every and step != last_step(recipe):
            return
        prompts = previews_of(recipe, self.record.names)
        count = len(prompts)
        begun = bool(step or self.setup.recipe.continue_from)
        vectors = self.setup.by_name(self.progress.vectors)
        now = learned_step(step, vectors, self.progress.lora, self.record.model)
        learned = now if begun else None
        for number in range(self.drawn[step], count):
            prompt, negative, _ = prompts[number] if begun else self._before(number)
            self.host.report_phase(DRAWING, number, count)
            try:
                (image,) = self.host.draw([(prompt, negative)], learned, recipe.seed)
            except Interrupted:
                return
            except Exception as problem:
                log.exception("the previews of step %d could not be drawn", step)
                said = f"No previews: {problem}"
                self.host.log_event({"kind": "note", "step": step, "text": said})
                self.drawn[step] = count
                return
            path = self.run.save_preview(step, number, image)
            shown = f"{prompt} (negative prompt: {negative})" if negative else prompt
            self.host.log_event(
                {"kind": "preview", "step": step, "prompt": shown, "file": path.name}
            )
            self.drawn[step] += 1
            self.host.report_phase(DRAWING, number + 1, count)

    def _before(self, number: int) -> Preview:
        """Return a preview with the initializers' words, which need no negative prompt."""
        words = [concept.initializer for concept in self.record.concepts]
        return previews_of(self.setup.recipe, words)[number]._replace(negative_prompt="")

    def _ended(self) -> Outcome | None:
        """Return how a run ends that is to be paused or thrown away."""
        ends = {"pause": JobState.PAUSED, "discard": JobState.STOPPED}
        state = ends.get(self.host.order() or "")
        return Outcome(state) if state else None

    def _compared(self) -> Comparison | None:
        """Return how the images compare with the model's own; a run does not fail for want of it,
        and an order ends it."""
        try:
            return self.host.compare(self.setup.recipe, self.setup.pictures)
        except Interrupted:
            return None
        except Exception as problem:
            log.exception("the images could not be compared with the model's own")
            said = f"The images were not compared with the model's own: {problem}"
            step = self.progress.step
            self.host.log_event({"kind": "note", "step": step, "text": said})
            return None

    def _best(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the best vectors and LoRA, on the device."""
        device = self.setup.model.device
        return (
            {key: rows.to(device) for key, rows in self.progress.best_vectors.items()},
            {name: weights.to(device) for name, weights in self.progress.best_lora.items()},
        )

    def _eval_set(self, setup: TrainingSetup) -> EvalSet:
        count = 2 * setup.recipe.evaluation_tuples * len(setup.placeholders)
        return prepare_eval_set(
            setup, count, lambda done, total: self.host.report_phase(JUDGING, done, total)
        )

    def _scores(self) -> tuple[EvalSet, Sequence[EvalResult]]:
        """Measure the best of each name on fixed inputs."""
        eval_set = self._eval_set(self.setup)
        return eval_set, score_each(self.setup, eval_set, *self._best())[1]

    def _asked_again(self, first: EvalSet, scores: Sequence[EvalResult]) -> Sequence[EvalResult]:
        """Ask further images where the held-out one says too little; an order gives that up."""
        count = self.setup.recipe.leave_one_out
        if not count or not any(map(leave_one_out.says_too_little, scores)):
            return scores
        try:
            with self.host.hold("final evaluation"):
                turns = [leave_one_out.measured(self.setup, first, *self._best())]
            for turn in range(1, count + 1):
                setup = leave_one_out.without(self.setup, turn)
                progress = self._learned_again(setup, turn - 1, count)
                with self.host.hold("final evaluation"):
                    learned = self._eval_set(setup), progress.vectors, progress.lora
                    turns.append(leave_one_out.measured(setup, *learned))
        except Interrupted:
            return scores
        return [leave_one_out.together(found, turns, number) for number, found in enumerate(scores)]

    def _learned_again(self, setup: TrainingSetup, turn: int, turns: int) -> Progress:
        """Train anew to the step that is kept; Interrupted once there is an order."""
        progress, steps = begin(setup), max(self.progress.kept)
        stretches = train_in_stretches(setup, progress)
        while progress.step < steps:
            if self.host.order():
                raise Interrupted("Stopped while another image was left out.")
            with self.host.hold("training step"):
                next(stretches)
            self.host.report_phase(LEAVING_OUT, turn * steps + progress.step, turns * steps)
        return progress

    def _report(
        self, reason: str, beside: Comparison | None, scores: Sequence[EvalResult]
    ) -> Report:
        setup, progress = self.setup, self.progress
        vectors, _ = self._best()
        reports = []
        for number, (placeholder, found) in enumerate(zip(setup.placeholders, scores, strict=True)):
            own = placeholder.rows(vectors)
            editable = editability(baseline_of(setup, placeholder), own)
            norm = float(norm_ratio(setup.norms, own))
            classic, fault = setup.recipe.optimizer == "adamw", setup.recipe.kind == "negative"
            guided = setup.recipe.guided
            verdict, advice = judge(found, editable, norm, classic, beside, fault, guided)
            reports.append(
                Report(
                    verdict=verdict,
                    advice=advice,
                    step=progress.kept[number],
                    reason=f"{_why(progress, number)}; {reason}.",
                    score=found,
                    editability=editable,
                    norm_ratio=norm,
                    nearest=nearest_words(setup.model, own),
                    seconds=self.seconds,
                    name=placeholder.name,
                )
            )
        return replace(reports[0], others=tuple(reports[1:]))


def _why(progress: Progress, number: int) -> str:
    """Say why the step that is kept of a name is the best."""
    count = len(progress.evaluations)
    shared = bool(progress.best_lora)  # by all names, and so is the step

    def gain(item: Evaluated) -> float:
        return (item.score if shared else item.of(number)).gain

    top = max(progress.evaluations, key=gain)
    if top.step == progress.kept[number]:
        return f"It measured best of {count} evaluations"
    return (
        f"Of {count} evaluations it is the last whose gain is within its error of the highest, "
        f"{gain(top):.0%} at step {top.step}"
    )


def _sentence(event: Evaluated) -> str:
    found = event.score
    if not event.step:
        return "Training."
    text = f"Step {event.step}: {found.gain:.0%} ± {found.error:.0%} better than the initializer"
    return text + (" (kept so far)." if event.best else ".")


def as_dict(event: TrainEvent) -> dict[str, Any]:
    """Return a trainer's event as the log holds it."""
    kinds = {Stepped: "step", Evaluated: "evaluation", RolledBack: "rolled_back", Ended: "ended"}
    values = {"kind": kinds[type(event)], **asdict(event)}
    return {**values, **values.pop("score", {})}


def metadata_of(record: Record, embedding: Embedding) -> dict[str, str]:
    """Return what the file says about itself; the same for the same vectors, so no times."""
    number = record.names.index(embedding.name)
    pictures = [name for name, _ in record.data if record.concept_of(name) == number]
    return {
        "name": embedding.name,
        "vectors": str(len(embedding)),
        "step": str(embedding.step),
        "trained_on": record.model_name,
        "trained_on_hash": record.model_hash,
        "initializer": record.concepts[number].initializer,
        "pictures": str(len(pictures)),
        "recipe": json.dumps(record.recipe.decisive(), sort_keys=True),
    }
