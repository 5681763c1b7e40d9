"""From a request to pictures: conditioning, noise, the sampling loop, decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui.errors import AppError, Interrupted
from webui.generation.infotext import write_infotext
from webui.generation.loras import applied
from webui.generation.preview import decode
from webui.generation.request import EMPHASES, GenerationRequest
from webui.generation.samplers import make_scheduler
from webui.prompting.loras import take_loras
from webui.prompting.source import PromptSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from webui.models.model import Model
    from webui.prompting.conditioning import (
        Conditioner,
        PromptConditioning,
        StepConditioning,
        UsedEmbedding,
    )
    from webui.prompting.source import EmbeddingSource


@dataclass(frozen=True)
class StepDone:
    """One sampling step of one batch is done."""

    step: int
    """Steps done so far over all batches."""
    steps: int
    """Steps of the whole request."""
    latents: Tensor
    """The batch as it stands, ``[batch, 4, h, w]``; ``preview.Previewer`` makes it visible."""


@dataclass(frozen=True)
class Picture:
    """A finished picture."""

    image: Image.Image
    seed: int
    infotext: str
    used: tuple[UsedEmbedding, ...]
    warnings: tuple[str, ...]
    """Sentences about what of the prompt could not be used."""


def generate(
    model: Model,
    request: GenerationRequest,
    embeddings: EmbeddingSource,
    conditioner: Conditioner,
    *,
    loras: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[StepDone | Picture]:
    """Draw the pictures of a checked request, telling of each step.

    ``loras`` is the folder of LoRA files. ``stopped`` is asked before each step; once it says
    True, Interrupted is raised. Raises AppError for requests that the model or the sampler cannot
    fulfil.
    """
    _, calls, _ = take_loras(request.prompt)
    with applied(model, calls, loras or Path()) as added:
        conditioning = conditioner.prepare(
            model,
            request.prompt,
            request.negative_prompt,
            request.steps,
            embeddings,
            settings=PromptSettings(
                emphasis=EMPHASES[request.emphasis],
                clip_skip=request.clip_skip,
                match_anywhere=request.match_anywhere,
            ),
            applied=added.in_text_encoders,
        )
        total = request.steps * request.batch_count
        for batch in range(request.batch_count):
            first = request.seed + batch * request.batch_size
            seeds = list(range(first, first + request.batch_size))
            for done, latents in _sample(model, request, conditioning, seeds, stopped):
                yield StepDone(batch * request.steps + done, total, latents)
            warnings = (*added.warnings, *conditioning.warnings)
            for seed, image in zip(seeds, decode(model, latents), strict=True):
                infotext = _describe(model, request, conditioning, seed)
                yield Picture(image, seed, infotext, conditioning.used, warnings)


def _describe(
    model: Model, request: GenerationRequest, conditioning: PromptConditioning, seed: int
) -> str:
    """Return the parameters text of one picture of the request."""
    return write_infotext(
        replace(request, seed=seed, batch_size=1, batch_count=1),
        model_name=model.name,
        model_hash=model.short_hash,
        embeddings={used.name: used.short_hash for used in conditioning.used},
    )


def _sample(
    model: Model,
    request: GenerationRequest,
    conditioning: PromptConditioning,
    seeds: list[int],
    stopped: Callable[[], bool],
) -> Iterator[tuple[int, Tensor]]:
    """Denoise one batch; yields the number of steps done and the latents ``[batch, 4, h, w]``."""
    import torch

    scheduler = make_scheduler(request.sampler, request.schedule_type, model.scheduler_config)
    scheduler.set_timesteps(request.steps, device=model.device)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    latents = _first_noise(model, request, generators) * scheduler.init_noise_sigma
    calls = len(scheduler.timesteps)  # Heun and DPM2 call the UNet about twice a step
    for call, timestep in enumerate(scheduler.timesteps):
        if stopped():
            raise Interrupted("Interrupted.")
        step = call * request.steps // calls
        with torch.inference_mode():
            scaled = scheduler.scale_model_input(latents, timestep)
            output = _guided(model, request, conditioning.at(step), scaled, timestep)
            latents = _step(scheduler, output, timestep, latents, generators)
        if call + 1 == calls or (call + 1) * request.steps // calls > step:
            yield step + 1, latents
    if not bool(torch.isfinite(latents).all()):
        raise AppError(
            "The picture came out as not-a-number. Try another sampler, a lower CFG scale, or "
            "start the app with --precision fp32."
        )


def _step(
    scheduler: object,
    output: Tensor,
    timestep: Tensor,
    latents: Tensor,
    generators: list[torch.Generator],
) -> Tensor:
    """Take one step of the scheduler; noise comes from each picture's own generator."""
    import inspect

    takes = inspect.signature(scheduler.step).parameters
    extra = {"generator": generators} if "generator" in takes else {}
    return scheduler.step(output, timestep, latents, return_dict=False, **extra)[0]


def _first_noise(
    model: Model, request: GenerationRequest, generators: list[torch.Generator]
) -> Tensor:
    """Return ``[batch, 4, h, w]`` of noise, made on the CPU so that all devices draw alike."""
    import torch

    shape = (4, request.height // model.latent_scale, request.width // model.latent_scale)
    noise = torch.stack([torch.randn(shape, generator=g) for g in generators])
    return noise.to(model.device, torch.float32)


def _guided(
    model: Model,
    request: GenerationRequest,
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
    guided = request.cfg_scale != 1 or len(positives) > 1
    if guided:
        context.append(conditioning.negative)
        pooled.append(conditioning.negative_pooled)
    count, batch = len(context), latents.shape[0]
    states = torch.cat([tensor.expand(batch, -1, -1) for tensor in context])
    output = model.unet(
        torch.cat([latents] * count).to(model.dtype),
        timestep,
        encoder_hidden_states=states.to(model.dtype),
        added_cond_kwargs=_size_conditioning(model, request, pooled, batch),
        return_dict=False,
    )[0].float()
    if not guided:
        return output
    *parts, base = output.chunk(count)
    shift = sum(weight * (part - base) for part, (_, weight) in zip(parts, positives, strict=True))
    return base + request.cfg_scale * shift


def _size_conditioning(
    model: Model, request: GenerationRequest, pooled: list[Tensor | None], batch: int
) -> dict[str, Tensor] | None:
    """Return SDXL's second conditioning: pooled text and the picture's size; None for others."""
    import torch

    if model.family != "sdxl":
        return None
    text = torch.cat([tensor.expand(batch, -1) for tensor in pooled if tensor is not None])
    size = (request.height, request.width)
    ids = torch.tensor([*size, 0, 0, *size], device=model.device, dtype=model.dtype)
    return {"text_embeds": text.to(model.dtype), "time_ids": ids.expand(len(text), -1)}
