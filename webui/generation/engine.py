"""From a request to pictures: conditioning, one or two passes of sampling, decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui.errors import Interrupted
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
from webui.generation.sampling.samplers import eta_warnings
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
class ModelUsed:
    """The names and short hashes of what a picture was made with."""

    name: str
    short_hash: str
    vae: tuple[str, str] | None
    """Name and hash of the file that took the place of the checkpoint's VAE, if one did."""

    @classmethod
    def of(cls, model: Model) -> ModelUsed:
        """Return a loaded model's."""
        vae = (model.vae_name, model.vae_hash) if model.vae_name and model.vae_hash else None
        return cls(model.name, model.short_hash, vae)


@dataclass(frozen=True)
class Picture:
    """A picture, with what it was made of."""

    image: Image.Image
    request: GenerationRequest
    """What gives this one picture: its own seeds, a batch of one."""
    model: ModelUsed
    used: tuple[UsedEmbedding, ...]
    warnings: tuple[str, ...]
    """Sentences about what of the prompt could not be used."""

    @property
    def infotext(self) -> str:
        """The parameters text, as people and other programs read it."""
        return write_infotext(
            self.request,
            model_name=self.model.name,
            model_hash=self.model.short_hash,
            vae=self.model.vae,
            embeddings={embedding.name: embedding.short_hash for embedding in self.used},
        )


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
    once the first says True, the batch comes as far as it has got and Interrupted is raised; when
    the second does, the batch is given up and the next one goes on. Raises AppError for requests
    that the model or the sampler cannot fulfil.
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
                stopped=stopped,
            )

        passes = [prepared(request.steps)]
        if request.second_steps:
            passes.append(prepared(request.second_steps))
        used, warnings = (
            passes[0].used,
            (
                *added.warnings,
                *passes[0].warnings,
                *eta_warnings(request.sampler, request.eta),
            ),
        )
        a_batch = request.all_steps // request.batch_count
        for batch in range(request.batch_count):
            seeds = seeds_of_batch(request, batch)
            latents: Tensor | None = None
            interruption: Interrupted | None = None
            try:
                for done, latents in _drawn(
                    model, request, passes, seeds, Signals(stopped, skipped)
                ):
                    yield StepDone(batch * a_batch + done, request.all_steps, latents)
            except BatchSkipped:
                continue
            except Interrupted as raised:
                interruption = raised
            for each, image in _decoded(model, seeds, latents):
                own = _own_request(request, each)
                yield Picture(image, own, ModelUsed.of(model), used, warnings)
            if interruption is not None:
                raise interruption


def _decoded(
    model: Model, seeds: list[Seeds], latents: Tensor | None
) -> Iterator[tuple[Seeds, Image.Image]]:
    """Yield the pictures of a batch; those that were not begun, when it was broken off, are none.

    ``latents`` is ``[batch, 4, h, w]``, zero where a picture was not begun.
    """
    begun = [] if latents is None else [n for n in range(len(seeds)) if bool(latents[n].any())]
    if latents is not None and begun:
        yield from zip([seeds[n] for n in begun], decode(model, latents[begun]), strict=True)


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


def _own_request(request: GenerationRequest, seeds: Seeds) -> GenerationRequest:
    """Return what gives one picture of the request alone."""
    return replace(request, seed=seeds.seed, subseed=seeds.subseed, batch_size=1, batch_count=1)
