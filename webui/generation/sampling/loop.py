"""The sampling loop: noise becomes latents under classifier-free guidance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webui.devices.copies import send
from webui.errors import AppError, Interrupted
from webui.generation.sampling.noise import PictureNoise, Seeds
from webui.generation.sampling.samplers import SAMPLERS, Course, LevelSettings, lay_out
from webui.prompting.encoding import size_conditioning

if TYPE_CHECKING:
    from torch import Tensor

    from webui.generation.request import GenerationRequest
    from webui.generation.sampling.noise_levels import LevelTable
    from webui.generation.sampling.solvers import Given
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

    ``start`` is what a pass with a strength below 1 begins with, of the pass's size. On the way
    the latents are what the model predicts. Raises Interrupted or BatchSkipped when asked to,
    AppError if the latents are not finite at the end.
    """
    import torch

    from webui.generation.sampling.noise_levels import LevelTable

    sampler = SAMPLERS[request.sampler]
    if sampler.one_by_one and len(seeds) > 1:
        yield from _one_by_one(model, request, conditioning, seeds, plan, signals, start)
        return
    table = LevelTable.of(model.scheduler_config, half=request.half_alphas)
    total, taken = plan.steps, None
    if start is not None:
        total = min(int(plan.steps / min(plan.strength, 0.999)), MOST_TIMESTEPS)
        taken = plan.steps
    settings = LevelSettings(
        model.family == "sdxl", request.leave_out_last_but_one, request.full_noise
    )
    course = lay_out(request.sampler, request.schedule_type, table, total, taken, settings)
    noises = _noises(model, request, plan, seeds)
    latents = course.noise * torch.stack([noise.first() for noise in noises]).to(model.device)
    if start is not None:
        latents = course.picture * start.float() + latents
    denoiser = model.denoiser()
    unguided: list[Tensor] = []
    given = _given(model, request, table, course, noises, seeds, unguided)
    path = sampler.path(latents, course.levels, given)
    done, count, call = 0, 0, next(path)
    while True:
        signals.check()
        with torch.inference_mode():
            timestep = table.timestep_of(call.sigma) if call.timestep is None else call.timestep
            outputs = _guided(
                denoiser,
                model,
                request.cfg_scale / sampler.cfg_unit,
                plan,
                conditioning.at(count),
                call.latents / math.sqrt(call.sigma**2 + 1),
                torch.full((), timestep, dtype=torch.float32, device=model.device),
                sampler.unguided,
            )
            predicted = [
                _picture_in(call.latents, output, call.sigma, model.prediction_type)
                for output in outputs
            ]
            unguided[:] = predicted[1:]
            count += 1
            try:
                call = path.send(predicted[0])
            except StopIteration as end:
                latents = end.value * course.end
                break
        if call.step > done:
            done = min(call.step, plan.steps)
            yield done, predicted[0]
    yield plan.steps, latents
    if not bool(torch.isfinite(latents).all()):
        raise AppError(
            "The image came out as not-a-number. Try another sampler, a lower CFG scale, or "
            "start the app with --precision fp32."
        )


def _noises(
    model: Model, request: GenerationRequest, plan: Pass, seeds: Sequence[Seeds]
) -> list[PictureNoise]:
    """Return the noise of each picture, made on the CPU so that all devices draw alike."""
    shape = (4, plan.height // model.latent_scale, plan.width // model.latent_scale)
    sides = (request.resized_from_height, request.resized_from_width)
    rows, columns = (side // model.latent_scale for side in sides)
    resized = (rows, columns) if min(rows, columns) > 0 else None
    return [
        PictureNoise(request.rng, each, shape, resized, request.eta_seed_delta) for each in seeds
    ]


def _given(
    model: Model,
    request: GenerationRequest,
    table: LevelTable,
    course: Course,
    noises: Sequence[PictureNoise],
    seeds: Sequence[Seeds],
    unguided: Sequence[Tensor],
) -> Given:
    """Return what the walk may use; ``unguided`` holds the last prediction without guidance."""
    import torch

    from webui.generation.sampling.brownian import BrownianNoise, BrownianTree
    from webui.generation.sampling.solvers import Churn, Given

    sampler = SAMPLERS[request.sampler]
    brownian = BrownianNoise(
        [
            BrownianTree(course.low, course.high, each.seed, noise.of_seed)
            for noise, each in zip(noises, seeds, strict=True)
        ]
        if sampler.brownian
        else []
    )
    eta = request.eta if request.eta is not None else sampler.eta
    return Given(
        table.every(sampler.stride),
        noise=lambda: send(torch.stack([noise.next() for noise in noises]), model.device),
        brownian=lambda level, lower: send(brownian(level, lower), model.device),
        unguided=lambda: unguided[0],
        eta=1.0 if eta is None else eta,
        noise_strength=request.noise_strength,
        churn=Churn(request.churn, request.churn_low, request.churn_high or math.inf),
    )


def _picture_in(x: Tensor, output: Tensor, sigma: float, kind: str) -> Tensor:
    """Return the picture that an output of the UNet stands for, at latents ``x``."""
    if kind == "sample":
        return output
    if kind == "epsilon":
        return x - sigma * output
    return x / (sigma**2 + 1) - output * (sigma / math.sqrt(sigma**2 + 1))


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


def _guided(
    denoiser: Callable[..., Any],
    model: Model,
    cfg_scale: float,
    plan: Pass,
    conditioning: StepConditioning,
    latents: Tensor,
    timestep: Tensor,
    both: bool,
) -> tuple[Tensor, ...]:
    """Return the UNet's output with and without classifier-free guidance.

    Both are ``[batch, 4, h, w]`` float32; the second is left out where it was not needed and not
    asked for by ``both``. All parts of the prompt, and the negative prompt where it is as long, go
    through the UNet in one call; the guidance of the parts joined by AND is added (Liu et al. 2022,
    "Compositional Visual Generation").
    """
    import torch

    positives = conditioning.positives
    context = [tensor for tensor, _ in positives]
    pooled = list(conditioning.positive_pooleds or ())  # [1, projection] each
    guided = both or cfg_scale != 1 or len(positives) > 1
    if guided:
        context.append(conditioning.negative)
        pooled += [] if conditioning.negative_pooled is None else [conditioning.negative_pooled]
    batch, last = latents.shape[0], len(positives)
    alike = [slice(0, last), slice(last, None)]
    if not guided or context[0].shape == context[-1].shape:
        alike = [slice(None)]
    outputs: list[Tensor] = []
    for rows in alike:
        states = torch.cat([tensor.expand(batch, -1, -1) for tensor in context[rows]])
        texts = torch.cat([each.expand(batch, -1) for each in pooled[rows]]) if pooled else None
        output = denoiser(
            torch.cat([latents] * (len(states) // batch)).to(model.dtype),
            timestep,
            encoder_hidden_states=states.to(model.dtype),
            added_cond_kwargs=size_conditioning(model, texts, plan.height, plan.width),
            return_dict=False,
        )[0].float()
        outputs += output.split(batch)
    if not guided:
        return (outputs[0],)
    *parts, base = outputs
    shift = sum(weight * (part - base) for part, (_, weight) in zip(parts, positives, strict=True))
    return base + cfg_scale * shift, base
