"""From a request to pictures: conditioning, one or two passes of sampling, decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui.errors import Interrupted
from webui.generation.esrgan import read_upscaler
from webui.generation.loras import AppliedLoras, switching
from webui.generation.metadata.infotext import write_infotext
from webui.generation.preview import decode
from webui.generation.request import EMPHASES, GenerationRequest
from webui.generation.sampling.loop import (
    BatchSkipped,
    Pass,
    Signals,
    sample,
    seeds_of_batch,
)
from webui.generation.sampling.noise import Seeds
from webui.generation.sampling.samplers import SAMPLERS, sampler_warnings
from webui.generation.upscaling import upscale
from webui.models.hashes import lora_hashes
from webui.prompting.loras import LoraCall, list_loras, take_loras, with_bundled
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
    loras: Mapping[str, Path]
    """The files of the LoRAs by the names that the prompt has for them."""

    @property
    def infotext(self) -> str:
        """The parameters text, as people and other programs read it."""
        return write_infotext(
            self.request,
            model_name=self.model.name,
            model_hash=self.model.short_hash,
            vae=self.model.vae,
            embeddings={embedding.name: embedding.short_hash for embedding in self.used},
            loras={name: lora_hashes(path) for name, path in self.loras.items()},
        )


def generate(
    model: Model,
    request: GenerationRequest,
    embeddings: EmbeddingSource,
    conditioner: Conditioner,
    *,
    loras: Path | None = None,
    upscalers: Mapping[str, Path] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    skipped: Callable[[], bool] = lambda: False,
) -> Iterator[StepDone | Picture]:
    """Draw the pictures of a checked request, telling of each step.

    ``loras`` is the folder of LoRA files; ``upscalers`` are the files of networks that enlarge, by
    name. ``stopped`` and ``skipped`` are asked before each step:
    once the first says True, the batch comes as far as it has got and Interrupted is raised; when
    the second does, the batch is given up and the next one goes on. Raises AppError for requests
    that the model or the sampler cannot fulfil.
    """
    if request.hires and (network := (upscalers or {}).get(request.hires_upscaler)):
        read_upscaler(network, model.device)  # a file that cannot be read is told at once
    files = list_loras(loras) if loras and _calls_loras(request) else {}
    with switching(model, files) as put:
        prepare = partial(
            _prepared, model, embeddings=embeddings, conditioner=conditioner, put=put, files=files,
            stopped=stopped,
        )  # fmt: skip
        a_batch = request.all_steps // request.batch_count
        for batch in range(request.batch_count):
            seeds = seeds_of_batch(request, batch)
            latents: Tensor | None = None
            interruption: Interrupted | None = None
            said = _Said()
            try:
                for done, latents in _drawn(
                    model, request, said, prepare, seeds, Signals(stopped, skipped), upscalers or {}
                ):
                    yield StepDone(batch * a_batch + done, request.all_steps, latents)
            except BatchSkipped:
                continue
            except Interrupted as raised:
                interruption = raised
            for each, image in _decoded(model, seeds, latents):
                yield Picture(
                    image,
                    _own_request(request, each),
                    ModelUsed.of(model),
                    tuple(said.used),
                    tuple(said.warnings),
                    said.loras,
                )
            if interruption is not None:
                raise interruption


@dataclass
class _Said:
    """What the passes of a batch say of their prompts, each thing once, in order."""

    used: dict[UsedEmbedding, None] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    loras: dict[str, Path] = field(default_factory=dict)


def _calls_loras(request: GenerationRequest) -> bool:
    prompts = (request.prompt, request.second_pass.prompt)
    return any(take_loras(prompt)[1] for prompt in prompts)


def _prepared(
    model: Model,
    request: GenerationRequest,
    steps: int,
    said: _Said,
    before: int = 0,
    *,
    embeddings: EmbeddingSource,
    conditioner: Conditioner,
    put: Callable[[Sequence[LoraCall]], AppliedLoras],
    files: Mapping[str, Path],
    stopped: Callable[[], bool],
) -> PromptConditioning:
    """Put the LoRAs of a pass's prompt into the model and return its conditioning.

    It is for so many ``steps``; ``before`` are the calls of the UNet in the pass before.
    """
    _, calls, _ = take_loras(request.prompt)
    added = put(calls)
    made = conditioner.prepare(
        model,
        request.prompt,
        request.negative_prompt,
        calls_of(request, steps),
        with_bundled(embeddings, calls, files),
        settings=PromptSettings(
            emphasis=EMPHASES[request.emphasis],
            clip_skip=request.clip_skip,
            match_anywhere=request.match_anywhere,
            late_schedules=not request.early_schedules,
            old_timelines=request.old_timelines,
            steps_before=before,
            equal_lengths=request.pad_prompts,
        ),
        applied=added.in_text_encoders,
        stopped=stopped,
    )
    warnings = (
        *added.warnings,
        *made.warnings,
        *sampler_warnings(request.sampler, request.schedule_type, request.eta),
    )
    said.used |= dict.fromkeys(made.used)
    said.warnings |= dict.fromkeys(warnings)
    said.loras |= added.files
    return made


def calls_of(request: GenerationRequest, steps: int) -> int:
    """Return how many calls of the UNet schedules in prompts count for so many steps."""
    return steps * SAMPLERS[request.sampler].calls


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
    said: _Said,
    prepare: Callable[..., PromptConditioning],
    seeds: list[Seeds],
    signals: Signals,
    upscalers: Mapping[str, Path],
) -> Iterator[tuple[int, Tensor]]:
    """Draw one batch; yields the steps done and the latents, at last those of all passes."""
    first = Pass(request.width, request.height, request.steps)
    conditioning = prepare(request, request.steps, said)
    for done, latents in sample(model, request, conditioning, seeds, first, signals):
        yield done, latents
    if not request.hires:
        return
    enlarged = upscale(
        model, latents, request.hires_upscaler, *request.hires_size, upscalers, signals.check
    )
    if not request.second_steps:
        yield request.steps, enlarged
    else:
        second = Pass(*request.hires_size, request.second_steps, request.denoising_strength)
        own = request.second_pass
        before = calls_of(request, request.steps)
        conditioning = prepare(own, request.second_steps, said, before)
        for done, latents in sample(model, own, conditioning, seeds, second, signals, enlarged):
            yield request.steps + done, latents


def _own_request(request: GenerationRequest, seeds: Seeds) -> GenerationRequest:
    """Return what gives one picture of the request alone."""
    return replace(request, seed=seeds.seed, subseed=seeds.subseed, batch_size=1, batch_count=1)
