"""The sampling loop: noise becomes latents under classifier-free guidance."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webui.errors import AppError, Interrupted
from webui.generation.samplers import make_scheduler

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

    scheduler = make_scheduler(request.sampler, request.schedule_type, model.scheduler_config)
    generators = [torch.Generator().manual_seed(each.seed) for each in seeds]
    noise = first_noise(model, plan, seeds, generators)
    total = plan.steps
    if start is not None:
        total = min(int(plan.steps / min(plan.strength, 0.999)), MOST_TIMESTEPS)
    scheduler.set_timesteps(total, device=model.device)
    begin = (total - plan.steps) * scheduler.order
    timesteps = scheduler.timesteps[begin:]
    if start is None:
        latents = noise * scheduler.init_noise_sigma
    else:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        latents = scheduler.add_noise(start, noise, timesteps[:1].expand(len(start)))
    calls = len(timesteps)  # Heun and DPM2 call the UNet about twice a step
    for call, timestep in enumerate(timesteps):
        signals.check()
        step = call * plan.steps // calls
        with torch.inference_mode():
            scaled = scheduler.scale_model_input(latents, timestep)
            at_step = conditioning.at(step)
            output = _guided(model, request.cfg_scale, plan, at_step, scaled, timestep)
            latents = _step(scheduler, output, timestep, latents, generators)
        if call + 1 == calls or (call + 1) * plan.steps // calls > step:
            yield step + 1, latents
    if not bool(torch.isfinite(latents).all()):
        raise AppError(
            "The picture came out as not-a-number. Try another sampler, a lower CFG scale, or "
            "start the app with --precision fp32."
        )


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
    scheduler: object,
    output: Tensor,
    timestep: Tensor,
    latents: Tensor,
    generators: list[torch.Generator],
) -> Tensor:
    """Take one step of the scheduler; noise comes from each picture's own generator."""
    takes = inspect.signature(scheduler.step).parameters
    extra = {"generator": generators} if "generator" in takes else {}
    return scheduler.step(output, timestep, latents, return_dict=False, **extra)[0]


def _guided(
    model: Model,
    cfg_scale: float,
    plan: Pass,
    conditioning: StepConditioning,
    latents: Tensor,
    timestep: Tensor,
) -> Tensor:
    """Return the UNet's output under classifier-free guidance, ``[batch, 4, h, w]`` float32.

    All parts of the prompt and the negative prompt go through the UNet in one call; the guidance
    of the parts joined by AND is added (Liu et al. 2022, "Compositional Visual Generation").
    """
    import torch

    positives = conditioning.positives
    context = [tensor for tensor, _ in positives]
    pooled = list(conditioning.positive_pooleds or ())
    guided = cfg_scale != 1 or len(positives) > 1
    if guided:
        context.append(conditioning.negative)
        pooled.append(conditioning.negative_pooled)
    count, batch = len(context), latents.shape[0]
    states = torch.cat([tensor.expand(batch, -1, -1) for tensor in context])
    output = model.unet(
        torch.cat([latents] * count).to(model.dtype),
        timestep,
        encoder_hidden_states=states.to(model.dtype),
        added_cond_kwargs=_size_conditioning(model, plan, pooled, batch),
        return_dict=False,
    )[0].float()
    if not guided:
        return output
    *parts, base = output.chunk(count)
    shift = sum(weight * (part - base) for part, (_, weight) in zip(parts, positives, strict=True))
    return base + cfg_scale * shift


def _size_conditioning(
    model: Model, plan: Pass, pooled: list[Tensor | None], batch: int
) -> dict[str, Tensor] | None:
    """Return SDXL's second conditioning: pooled text and the picture's size; None for others."""
    import torch

    if model.family != "sdxl":
        return None
    text = torch.cat([tensor.expand(batch, -1) for tensor in pooled if tensor is not None])
    size = (plan.height, plan.width)
    ids = torch.tensor([*size, 0, 0, *size], device=model.device, dtype=model.dtype)
    return {"text_embeds": text.to(model.dtype), "time_ids": ids.expand(len(text), -1)}
