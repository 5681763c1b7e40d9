"""The training loop: a generator that does one step, or one evaluation, each time it is asked."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from webui.errors import AppError
from webui.training.denoising import Batch, generator_for
from webui.training.evaluation import (
    EvalSet,
    Measured,
    baseline_of,
    editability,
    prepare_eval_set,
    score_each,
    untold,
)
from webui.training.recipe import Recipe, last_step, learning_rate_at, lora_learning_rate_at
from webui.training.runs.report import EvalResult, chosen_of
from webui.training.setup import TrainingSetup
from webui.training.updates.graph import UpdateGraph
from webui.training.updates.optimizer import AdamW, Optimizer, optimizer_for
from webui.training.updates.update import LORA, VECTORS, Learned, update_as_it_is

log = logging.getLogger(__name__)

ROLL_BACKS = 5
"""How often a run may go back to its last good step before it is given up."""
JUMP = 1.5
"""What the error on fixed inputs may be, as a multiple of the initializer's or empty prompt's."""
LOSS_SCALE = 2.0**16
"""What the loss is multiplied by at first where gradients pass through float16, so that small ones
are not lost; the gradients are divided by it before anything is done with them."""


MOST_QUEUED = 16
"""So many steps may be queued on a device that computes while the program goes on."""
STRETCH_S = 0.5
"""A stretch should not take longer, so that images, pauses and the page need not wait."""


@dataclass
class Pace:
    """How many steps are queued before their figures are read, which waits for the device."""

    most: int
    """1 where nothing is gained by more: on processors, and where each loss is looked at."""
    steps: int = 1

    @classmethod
    def of(cls, setup: TrainingSetup) -> Pace:
        """Return the pace of a run."""
        return cls(MOST_QUEUED if setup.model.device.type == "cuda" and not setup.scaled else 1)

    def took(self, seconds: float, steps: int) -> None:
        """Make the next stretch as long as the time of the last one allows."""
        fitting = int(STRETCH_S * steps / max(seconds, 1e-6))
        self.steps = max(1, min(fitting, 2 * self.steps, self.most))


@dataclass(frozen=True)
class Stepped:
    """One update of the vectors."""

    step: int
    loss: float
    """Mean error of the step's own draws; says little about progress."""
    rate: float
    norm_ratio: float
    """Mean norm of the vectors as a multiple of the vocabulary's."""
    gradient: float
    """Norm of the gradient by all that is learned."""


@dataclass(frozen=True)
class Evaluated:
    """Vectors measured on fixed inputs; the trainer's ``Progress`` holds them now."""

    step: int
    score: EvalResult
    """Of all names together."""
    editability: float
    """The least of the names'."""
    best: bool
    """Whether these are the best vectors so far: see ``chosen_of``."""
    each: tuple[EvalResult, ...] = ()
    """Of each of several names; none of a run of one."""
    kept: tuple[int, ...] = ()
    """The step that has measured best so far of each name."""

    def of(self, number: int) -> EvalResult:
        """Return the score of a name, counted from 0."""
        return self.each[number] if self.each else self.score


@dataclass(frozen=True)
class RolledBack:
    """The run went wrong at ``step`` and goes on from ``to_step`` at a lower rate."""

    step: int
    to_step: int
    reason: str
    rate_scale: float


@dataclass(frozen=True)
class Ended:
    """The loop is over; the best vectors are in the ``Progress``."""

    step: int
    reason: str


TrainEvent = Stepped | Evaluated | RolledBack | Ended


@dataclass
class Progress:
    """How far a run has got: all that is needed to go on as if it had never stopped."""

    step: int
    vectors: dict[str, Tensor]
    optimizer: Optimizer
    rate_scale: float = 1.0
    roll_backs: int = 0
    evaluations: list[Evaluated] = field(default_factory=list)
    best_step: int = 0
    """Of all names together; with a LoRA that of each, since they share it."""
    kept: tuple[int, ...] = ()
    """The best step of each name."""
    best_vectors: dict[str, Tensor] = field(default_factory=dict)
    """Of each name those of its own best step."""
    good: dict[str, Any] = field(default_factory=dict)
    """Step, vectors and optimizer state of the last evaluation without a complaint."""
    loss_scale: float = 1.0
    """What the loss is multiplied by; halved when gradients overflow, and never raised again,
    since runs are short."""
    lora: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the LoRA, if one is learned too."""
    lora_optimizer: AdamW | None = None
    best_lora: dict[str, Tensor] = field(default_factory=dict)

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """Those of the vectors and of the LoRA, if any."""
        found: dict[str, Optimizer] = {VECTORS: self.optimizer}
        return found | {LORA: self.lora_optimizer} if self.lora_optimizer else found

    @property
    def learned(self) -> Learned:
        """What moves with each step."""
        rows = {VECTORS: self.vectors, LORA: self.lora}
        return {kind: (rows[kind], each.kept) for kind, each in self.optimizers.items()}

    def take(self, learned: Learned) -> None:
        """Take up what came of the next step."""
        self.step += 1
        for kind, each in self.optimizers.items():
            rows, each.kept = learned[kind]
            each.steps += 1
            (self.vectors if kind == VECTORS else self.lora).update(rows)

    def snapshot(self) -> dict[str, Any]:
        """Return what moves with each step, copied to the CPU."""
        return {
            "step": self.step,
            "vectors": _copied(self.vectors),
            "optimizer": _copied(self.optimizer.state()),
            "lora": _copied(self.lora),
            "lora_optimizer": _copied(self.lora_optimizer.state()) if self.lora_optimizer else None,
        }

    def take_up(self, snapshot: Mapping[str, Any]) -> None:
        """Go back, or on, to what ``snapshot()`` returned."""
        self.step = snapshot["step"]
        with torch.no_grad():
            for key, rows in snapshot["vectors"].items():
                self.vectors[key].copy_(rows)
            for key, weights in snapshot.get("lora", {}).items():  # none in earlier versions' files
                self.lora[key].copy_(weights)
        self.optimizer.load(_copied(snapshot["optimizer"]))
        if self.lora_optimizer:
            self.lora_optimizer.load(_copied(snapshot["lora_optimizer"]))


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def begin(setup: TrainingSetup) -> Progress:
    """Return the progress of a run that has not begun."""
    vectors = {key: rows.clone() for key, rows in setup.start.items()}
    recipe = setup.recipe
    optimizer = optimizer_for(recipe.optimizer, vectors, recipe.prior_weight, recipe.max_grad_norm)
    scale = LOSS_SCALE if setup.scaled else 1.0
    progress = Progress(0, vectors, optimizer, loss_scale=scale)
    if setup.lora:
        progress.lora = {name: weights.clone() for name, weights in setup.lora.items()}
        progress.lora_optimizer = AdamW(progress.lora, recipe.max_grad_norm)
    progress.good = progress.snapshot()
    return progress


def train(setup: TrainingSetup, progress: Progress) -> Iterator[TrainEvent]:
    """Go on from ``progress`` to the end, one event a time; see ``train_in_stretches``."""
    for events in train_in_stretches(setup, progress):
        yield from events


def train_in_stretches(
    setup: TrainingSetup,
    progress: Progress,
    pace: Pace | None = None,
    measured: Measured = untold,
) -> Iterator[list[TrainEvent]]:
    """Go on from ``progress`` to the end; ``progress`` is consistent after each stretch.

    A stretch is an evaluation, or as many steps as ``pace`` lets be queued on the device before
    their figures are read. ``measured`` is told how far the measuring of the initializer is, which
    comes first. The same setup and progress give the same events and vectors, wherever
    the run was cut in two and however long the stretches: every draw depends on seed and step
    alone. Raises AppError if the run cannot be saved.
    """
    pace = pace or Pace.of(setup)
    recipe, last = setup.recipe, last_step(setup.recipe)
    eval_set = prepare_eval_set(setup, recipe.evaluation_tuples, measured)
    graph = None
    if (compiled := setup.model.compiled) and not recipe.guided:
        graph = UpdateGraph(setup, progress.optimizers, progress.lora, compiled)
    while True:
        due = progress.step % recipe.evaluate_every == 0 or progress.step == last
        evaluated = progress.evaluations[-1].step if progress.evaluations else -1
        if due and evaluated != progress.step:
            yield [_evaluate(setup, progress, eval_set)]
        if progress.step >= last:
            yield [Ended(progress.step, "all steps are done")]
            return
        if recipe.stop_early and settled(progress.evaluations, recipe.evaluate_every):
            yield [Ended(progress.step, "the evaluations no longer improve")]
            return
        began = time.perf_counter()
        events = _updates(
            setup, progress, min(pace.steps, _steps_to_stop(recipe, progress.step)), graph
        )
        pace.took(time.perf_counter() - began, len(events))
        yield events


def _steps_to_stop(recipe: Recipe, step: int) -> int:
    """Return how many steps are left to the next evaluation, preview or end."""
    intervals = [every for every in (recipe.evaluate_every, recipe.preview_every) if every]
    return min(last_step(recipe) - step, *(every - step % every for every in intervals))


def _updates(
    setup: TrainingSetup, progress: Progress, count: int, graph: UpdateGraph | None
) -> list[TrainEvent]:
    """Do ``count`` steps, then read their figures; go back if one of them was no number.

    What was computed after such a step is forgotten with it, for the run goes back to before it.
    """
    queued = [queue_step(setup, progress, graph) for _ in range(count)]
    events: list[TrainEvent] = []
    for (step, rate, _), figures in zip(
        queued, torch.stack([each.figures for each in queued]).tolist(), strict=True
    ):
        loss, length, ratio = figures
        if not (math.isfinite(loss) and math.isfinite(length)):
            events.append(_roll_back(progress, step, "the loss was not a number"))
            break
        events.append(Stepped(step, loss, rate, ratio, length))
    return events


class Queued(NamedTuple):
    """A step that the device may still be computing."""

    step: int
    rate: float
    figures: Tensor
    """``[3]`` on the device: the loss, the gradient's length, and the vectors' ``norm_ratio``."""


def queue_step(
    setup: TrainingSetup, progress: Progress, graph: UpdateGraph | None = None
) -> Queued:
    """Queue one step; nothing of it is read, but that a scaled loss is looked at for overflow."""
    step = progress.step + 1
    rate = learning_rate_at(setup.recipe, step) * progress.rate_scale
    rates = {VECTORS: rate, LORA: lora_learning_rate_at(setup.recipe, step) * progress.rate_scale}
    optimizers, learned = progress.optimizers, progress.learned
    numbers = {kind: each.numbers(rates[kind]) for kind, each in optimizers.items()}
    drawn = [
        draw_batch(setup, step, turn, progress.roll_backs)
        for turn in range(setup.recipe.gradient_accumulation_steps)
    ]
    while True:
        scale = progress.loss_scale
        if graph:
            after, figures = graph(learned, drawn, numbers, scale)
        else:
            after, figures = update_as_it_is(setup, optimizers, learned, drawn, numbers, scale)
        if scale <= 1 or not bool(figures[0].isfinite() & ~figures[1].isfinite()):
            break
        progress.loss_scale /= 2
    progress.take(after)
    return Queued(step, rate, figures)


def draw_batch(setup: TrainingSetup, step: int, turn: int, attempt: int) -> tuple[Batch, list[str]]:
    """Draw the crops, captions, noise and timesteps of one batch.

    The timesteps of an update are stratified: one from each of as many equal parts of the
    schedule as it has samples.
    """
    recipe, seed = setup.recipe, setup.recipe.seed
    chosen = draw_crops(setup, (step - 1) * recipe.gradient_accumulation_steps + turn)
    together = recipe.batch_size * recipe.gradient_accumulation_steps
    strata = torch.randperm(together, generator=generator_for(seed, "strata", step, attempt))
    strata = strata[turn * recipe.batch_size : (turn + 1) * recipe.batch_size]
    draw = generator_for(seed, "batch", step, turn, attempt)
    total = setup.schedule.config["num_train_timesteps"]
    within = torch.rand(recipe.batch_size, generator=draw)
    shape = (recipe.batch_size, *setup.latents.mean[chosen[0]].shape)
    shift_draw = generator_for(seed, "noise offset", step, turn, attempt)
    shift = recipe.noise_offset * torch.randn((*shape[:2], 1, 1), generator=shift_draw)
    batch = Batch(
        torch.tensor(chosen),
        torch.randn(shape, generator=draw),
        torch.randn(shape, generator=draw) + shift,  # [b, 4, h, w]
        ((strata + within) / together * total).long().clamp(max=total - 1),
    )
    captions = torch.rand(recipe.batch_size, generator=draw).tolist()
    lines = [
        setup.line(setup.latents.pictures[crop], value, (step - 1) / recipe.steps)
        for crop, value in zip(chosen, captions, strict=True)
    ]
    return batch, lines


def draw_crops(setup: TrainingSetup, number: int) -> list[int]:
    """Return the crops of a batch, the batches counted from 0; all are of one bucket.

    A bucket's turns are as many as its crops, in shuffled rounds over all of them, and at its
    turns its own crops come in shuffled rounds, those of several names by turns; so each crop is
    seen equally often.
    """
    buckets, size = setup.buckets(), setup.recipe.batch_size
    owners = [index for index, bucket in enumerate(buckets) for _ in bucket]
    lap, place = divmod(number, len(owners))
    turns = [owners[at] for at in _shuffled(setup, "buckets", lap, len(owners))]
    crops = buckets[turns[place]]
    before = lap * len(crops) + turns[:place].count(turns[place])  # turns it has had
    chosen: list[int] = []
    while len(chosen) < size:
        lap, place = divmod(before * size + len(chosen), len(crops))
        order = [crops[index] for index in _shuffled(setup, "order", lap, len(crops))]
        chosen += setup.by_turns(order)[place : place + size - len(chosen)]
    return chosen


def _shuffled(setup: TrainingSetup, what: str, lap: int, count: int) -> list[int]:
    draw = generator_for(setup.recipe.seed, what, lap)
    return torch.randperm(count, generator=draw).tolist()


def _evaluate(
    setup: TrainingSetup, progress: Progress, eval_set: EvalSet
) -> Evaluated | RolledBack:
    """Measure the vectors, keep them if they are the best; go back if the error has jumped."""
    found, each = score_each(setup, eval_set, progress.vectors, progress.lora)
    ceiling = JUMP * max(float(eval_set.initializer.mean()), float(eval_set.empty.mean()))
    if not found.loss <= ceiling:
        return _roll_back(progress, progress.step, "the error on fixed inputs jumped")
    editable = min(
        editability(baseline_of(setup, each), each.rows(progress.vectors))
        for each in setup.placeholders
    )
    before = progress.evaluations
    best = chosen_of([*(item.score for item in before), found]) == len(before)
    progress.good = progress.snapshot()
    if best:
        progress.best_step, progress.best_lora = progress.step, progress.good["lora"]
    chosen = [best] * len(each)
    if len(each) > 1 and not progress.lora:
        chosen = [
            chosen_of([*(item.of(number) for item in before), own]) == len(before)
            for number, own in enumerate(each)
        ]
    _keep(setup, progress, chosen)
    several = each if len(each) > 1 else ()
    evaluated = Evaluated(progress.step, found, editable, best, several, progress.kept)
    before.append(evaluated)
    return evaluated


def _keep(setup: TrainingSetup, progress: Progress, chosen: Sequence[bool]) -> None:
    """Keep the vectors of the chosen names as their best."""
    now: dict[str, Tensor] = progress.good["vectors"]
    kept = progress.kept or (progress.best_step,) * len(chosen)
    best = {key: rows.clone() for key, rows in (progress.best_vectors or now).items()}
    for placeholder, better in zip(setup.placeholders, chosen, strict=True):
        if better:
            own = placeholder.rows(now)
            for key, rows in placeholder.rows(best).items():
                rows.copy_(own[key])
    progress.best_vectors = best
    progress.kept = tuple(
        progress.step if better else step for step, better in zip(kept, chosen, strict=True)
    )


def _roll_back(progress: Progress, step: int, reason: str) -> RolledBack:
    if progress.roll_backs >= ROLL_BACKS:
        raise AppError(
            f"At step {step} {reason}, again after going back {ROLL_BACKS} times and lowering the "
            "learning rate. Use a lower rate, or full precision (fp32)."
        )
    progress.roll_backs += 1
    progress.rate_scale /= 2
    progress.take_up(progress.good)
    log.warning("step %d: %s; back to step %d, half the rate", step, reason, progress.step)
    return RolledBack(step, progress.step, reason, progress.rate_scale)


def settled(evaluations: list[Evaluated], every: int) -> bool:
    """Whether the last 310 steps' evaluations vary less than 15 % as much as all of them do.

    DVAR's rule to stop, arXiv 2302.04841.
    """
    window = max(4, 310 // every)
    losses = [item.score.loss for item in evaluations]
    if len(losses) < 2 * window:
        return False
    return statistics.pvariance(losses[-window:]) < 0.15 * statistics.pvariance(losses)
