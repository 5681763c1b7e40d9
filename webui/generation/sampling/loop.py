"""The sampling loop: noise becomes latents under classifier-free guidance."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webui.errors import AppError, Interrupted
from webui.generation.sampling.samplers import Scheduler, make_scheduler
from webui.prompting.encoding import size_conditioning

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from webui.generation.request import GenerationRequest
    from webui.models.model import Model
    from webui.prompting.conditioning import PromptConditioning, StepConditioning

MOST_TIMESTEPS = 999
"""A second pass that goes back very little divides its time into at most this many steps."""


class BatchSkipped(Exception):  # noqa: N818 - nothing went wrong
    """The batch that is being drawn was given up; the next one goes on."""


@dataclass(frozen=True)
class Signals:
    """What a person may ask for meanwhile; both are asked before each step."""

    stopped: Callable[[], bool] = lambda: False
    """Whether to end altogether."""
    skipped: Callable[[], bool] = lambda: False
    """Whether to give up this batch; the answer True is given once."""

    def check(self) -> None:
        """Raise Interrupted or BatchSkipped if that was asked for."""
        if self.stopped():
            raise Interrupted("Interrupted.")
        if self.skipped():
            raise BatchSkipped


@dataclass(frozen=True)
class Seeds:
    """What the noise of one picture is drawn from."""

    seed: int
    subseed: int
    subseed_strength: float
    """0 is the noise of ``seed`` alone, 1 that of ``subseed`` alone."""


@dataclass(frozen=True)
class Pass:
    """How one pass is sampled."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    steps: int
    """UNet steps that are carried out."""
    strength: float = 1.0
    """Part of the noise to begin with: 1 starts from noise, less draws over latents."""


def seeds_of_batch(request: GenerationRequest, batch: int) -> list[Seeds]:
    """Return the seeds of a batch's pictures, counted on over the batches.

    With a variation strength the seeds stay and the variation seeds count up, as in AUTOMATIC1111.
    """
    first = batch * request.batch_size
    varied = request.subseed_strength > 0
    return [
        Seeds(
            request.seed + (0 if varied else number),
            request.subseed + number,
            request.subseed_strength,
        )
        for number in range(first, first + request.batch_size)
    ]


def sample(
    model: Model,
    request: GenerationRequest,
    conditioning: PromptConditioning,
    seeds: Sequence[Seeds],
    plan: Pass,
    signals: Signals,
    start: Tensor | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Denoise one batch; yields the number of steps done and the latents ``[batch, 4, h, w]``.

    ``start`` is what a pass with a strength below 1 begins with, of the pass's size. Raises
    Interrupted or BatchSkipped when asked to, AppError if the latents are not finite at the end.
    """
    import torch

    scheduler = make_scheduler(
        request.sampler, request.schedule_type, model.scheduler_config, model.family, request.eta
    )
    if getattr(scheduler, "one_by_one", False) and len(seeds) > 1:
        yield from _one_by_one(model, request, conditioning, seeds, plan, signals, start)
        return
    generators = [torch.Generator().manual_seed(each.seed) for each in seeds]
    noise = first_noise(model, plan, seeds, generators)
    total = plan.steps
    if start is not None:
        total = min(int(plan.steps / min(plan.strength, 0.999)), MOST_TIMESTEPS)
    scheduler.set_timesteps(total, device=model.device)
    begin = (total - plan.steps) * scheduler.order
    if start is None:
        latents = noise * scheduler.init_noise_sigma
    else:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        first = scheduler.timesteps[begin : begin + 1]
        latents = scheduler.add_noise(start, noise, first.expand(len(start)))
    guidance = request.cfg_scale / getattr(scheduler, "cfg_unit", 1)
    both = getattr(scheduler, "needs_unguided", False)
    done = 0
    for step, timestep in calls(scheduler, begin, plan.steps):
        if step > done:
            done = step
            yield done, latents
        signals.check()
        with torch.inference_mode():
            scaled = scheduler.scale_model_input(latents, timestep)
            at_step = conditioning.at(step)
            outputs = _guided(model, guidance, plan, at_step, scaled, timestep, both)
            latents = _step(scheduler, *outputs, timestep, latents, generators)
    yield plan.steps, latents
    if not bool(torch.isfinite(latents).all()):
        raise AppError(
            "The image came out as not-a-number. Try another sampler, a lower CFG scale, or "
            "start the app with --precision fp32."
        )


def calls(scheduler: Scheduler, begin: int, steps: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the step, counted from 0, and the timestep of each UNet call of a pass.

    ``begin`` is the first of the scheduler's timesteps. Each call is to be answered by the
    scheduler's ``step`` before the next one is asked for, which may depend on it.
    """
    if not hasattr(scheduler, "asked"):
        timesteps = scheduler.timesteps[begin:]
        # DPM2 calls the UNet about twice a step
        for call, timestep in enumerate(timesteps):
            yield call * steps // len(timesteps), timestep
        return
    while scheduler.asked is not None:
        yield scheduler.asked


def _one_by_one(
    model: Model,
    request: GenerationRequest,
    conditioning: PromptConditioning,
    seeds: Sequence[Seeds],
    plan: Pass,
    signals: Signals,
    start: Tensor | None,
) -> Iterator[tuple[int, Tensor]]:
    """Denoise a batch picture by picture; yields as ``sample`` does.

    Pictures that are not drawn yet are empty, or what they begin with.
    """
    import torch

    shape = (len(seeds), 4, plan.height // model.latent_scale, plan.width // model.latent_scale)
    latents = torch.zeros(shape, device=model.device) if start is None else start
    reported = 0
    for number, own in enumerate(seeds):
        rows = slice(number, number + 1)
        begin = None if start is None else start[rows]
        for done, drawn in sample(model, request, conditioning, [own], plan, signals, begin):
            latents = torch.cat([latents[:number], drawn, latents[number + 1 :]])
            share = (number * plan.steps + done) // len(seeds)
            if share > reported:
                reported = share
                yield reported, latents


def first_noise(
    model: Model, plan: Pass, seeds: Sequence[Seeds], generators: Sequence[torch.Generator]
) -> Tensor:
    """Return ``[batch, 4, h, w]`` of noise, made on the CPU so that all devices draw alike."""
    import torch

    shape = (4, plan.height // model.latent_scale, plan.width // model.latent_scale)
    noises = []
    for each, generator in zip(seeds, generators, strict=True):
        noise = torch.randn(shape, generator=generator)
        if each.subseed_strength:
            other = torch.randn(shape, generator=torch.Generator().manual_seed(each.subseed))
            noise = slerp(noise, other, each.subseed_strength)
        noises.append(noise)
    return torch.stack(noises).to(model.device, torch.float32)


def slerp(start: Tensor, end: Tensor, part: float) -> Tensor:
    """Return the noise ``part`` of the way from one to another, ``[4, h, w]``, column by column.

    Each column of a channel turns on the arc between the two (Shoemake 1985, "Animating Rotation
    with Quaternion Curves"), so that the result is as strong as noise is; a straight line would
    be weaker in the middle.
    """
    import torch

    directions = (noise / noise.norm(dim=1, keepdim=True) for noise in (start, end))
    first, second = directions
    angle = (first * second).sum(dim=1, keepdim=True).clamp(-1, 1).acos()  # [4, 1, w]
    sine = angle.sin()
    turned = (start * ((1 - part) * angle).sin() + end * (part * angle).sin()) / sine
    return torch.where(sine > 1e-4, turned, torch.lerp(start, end, part))


def _step(
    scheduler: Scheduler,
    output: Tensor,
    unguided: Tensor | None,
    timestep: Tensor,
    latents: Tensor,
    generators: list[torch.Generator],
) -> Tensor:
    """Take one step of the scheduler; noise comes from each picture's own generator."""
    takes = inspect.signature(scheduler.step).parameters
    extra: dict[str, Any] = {"generator": generators} if "generator" in takes else {}
    if "eta" in takes:
        extra["eta"] = scheduler.eta
    if getattr(scheduler, "needs_unguided", False):
        extra["unguided"] = unguided
    following: Tensor = scheduler.step(output, timestep, latents, return_dict=False, **extra)[0]
    return following


def _guided(
    model: Model,
    cfg_scale: float,
    plan: Pass,
    conditioning: StepConditioning,
    latents: Tensor,
    timestep: Tensor,
    both: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return the UNet's output with and without classifier-free guidance.

    Both are ``[batch, 4, h, w]`` float32; the second is None where it was not needed and not
    asked for by ``both``. All parts of the prompt and the negative prompt go through the UNet in
    one call; the guidance of the parts joined by AND is added (Liu et al. 2022, "Compositional
    Visual Generation").
    """
    import torch

    positives = conditioning.positives
    context = [tensor for tensor, _ in positives]
    pooled = list(conditioning.positive_pooleds or ())  # [1, projection] each
    guided = both or cfg_scale != 1 or len(positives) > 1
    if guided:
        context.append(conditioning.negative)
        pooled += [] if conditioning.negative_pooled is None else [conditioning.negative_pooled]
    count, batch = len(context), latents.shape[0]
    states = torch.cat([tensor.expand(batch, -1, -1) for tensor in context])
    texts = torch.cat([tensor.expand(batch, -1) for tensor in pooled]) if pooled else None
    output = model.unet(
        torch.cat([latents] * count).to(model.dtype),
        timestep,
        encoder_hidden_states=states.to(model.dtype),
        added_cond_kwargs=size_conditioning(model, texts, plan.height, plan.width),
        return_dict=False,
    )[0].float()
    if not guided:
        return output, None
    *parts, base = output.chunk(count)
    shift = sum(weight * (part - base) for part, (_, weight) in zip(parts, positives, strict=True))
    return base + cfg_scale * shift, base
