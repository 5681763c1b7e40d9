"""From a request to pictures: conditioning, one or two passes of sampling, decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui.generation.loras import applied
from webui.generation.metadata.infotext import write_infotext
from webui.generation.preview import decode
from webui.generation.request import EMPHASES, GenerationRequest
from webui.generation.sampling.loop import (
    BatchSkipped,
    Pass,
    Seeds,
    Signals,
    sample,
    seeds_of_batch,
)
from webui.generation.upscaling import upscale
from webui.prompting.loras import list_loras, take_loras, with_bundled
from webui.prompting.source import PromptSettings

if TYPE_CHECKING:
    from torch import Tensor

    from webui.models.model import Model
    from webui.prompting.conditioning import Conditioner, PromptConditioning, UsedEmbedding
    from webui.prompting.source import EmbeddingSource


@dataclass(frozen=True)
class StepDone:
    """One sampling step of one batch is done."""

    step: int
    """Steps done so far over all batches and passes; those of skipped batches count."""
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
    skipped: Callable[[], bool] = lambda: False,
) -> Iterator[StepDone | Picture]:
    """Draw the pictures of a checked request, telling of each step.

    ``loras`` is the folder of LoRA files. ``stopped`` and ``skipped`` are asked before each step:
    once the first says True, Interrupted is raised; when the second does, the batch is given up
    and the next one goes on. Raises AppError for requests that the model or the sampler cannot
    fulfil.
    """
    _, calls, _ = take_loras(request.prompt)
    files = list_loras(loras) if loras and calls else {}
    embeddings = with_bundled(embeddings, calls, files)
    with applied(model, calls, files) as added:

        def prepared(steps: int) -> PromptConditioning:
            return conditioner.prepare(
                model,
                request.prompt,
                request.negative_prompt,
                steps,
                embeddings,
                settings=PromptSettings(
                    emphasis=EMPHASES[request.emphasis],
                    clip_skip=request.clip_skip,
                    match_anywhere=request.match_anywhere,
                    late_schedules=request.late_schedules,
                ),
                applied=added.in_text_encoders,
            )

        passes = [prepared(request.steps)]
        if request.second_steps:
            passes.append(prepared(request.second_steps))
        used, warnings = passes[0].used, (*added.warnings, *passes[0].warnings)
        a_batch = request.all_steps // request.batch_count
        for batch in range(request.batch_count):
            seeds = seeds_of_batch(request, batch)
            try:
                for done, latents in _drawn(
                    model, request, passes, seeds, Signals(stopped, skipped)
                ):
                    yield StepDone(batch * a_batch + done, request.all_steps, latents)
            except BatchSkipped:
                continue
            for each, image in zip(seeds, decode(model, latents), strict=True):
                infotext = _describe(model, request, used, each)
                yield Picture(image, each.seed, infotext, used, warnings)


def _drawn(
    model: Model,
    request: GenerationRequest,
    passes: list[PromptConditioning],
    seeds: list[Seeds],
    signals: Signals,
) -> Iterator[tuple[int, Tensor]]:
    """Draw one batch with a conditioning a pass; yields steps done and latents, at last of all."""
    first = Pass(request.width, request.height, request.steps)
    for done, latents in sample(model, request, passes[0], seeds, first, signals):
        if done < request.steps or not request.hires:
            yield done, latents
    if not request.hires:
        return
    enlarged = upscale(model, latents, request.hires_upscaler, *request.hires_size)
    yield request.steps, enlarged
    if request.second_steps:
        second = Pass(*request.hires_size, request.second_steps, request.denoising_strength)
        for done, latents in sample(model, request, passes[1], seeds, second, signals, enlarged):
            yield request.steps + done, latents


def _describe(
    model: Model, request: GenerationRequest, used: tuple[UsedEmbedding, ...], seeds: Seeds
) -> str:
    """Return the parameters text of one picture of the request."""
    return write_infotext(
        replace(request, seed=seeds.seed, subseed=seeds.subseed, batch_size=1, batch_count=1),
        model_name=model.name,
        model_hash=model.short_hash,
        vae=(model.vae_name, model.vae_hash) if model.vae_name and model.vae_hash else None,
        embeddings={embedding.name: embedding.short_hash for embedding in used},
    )
