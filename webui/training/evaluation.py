"""Measures of what an embedding has learned: gain on fixed inputs, editability, norm, words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from webui.embeddings.embedding import Embedding
from webui.embeddings.health import examine
from webui.prompting.chunks import Insert, Words
from webui.prompting.encoding import encode, encode_with
from webui.prompting.tokens import tokens_of
from webui.training.captions import lay_out_caption
from webui.training.denoising import Batch, denoising_errors, generator_for
from webui.training.learned.lora import Lora, applied_lora
from webui.training.runs.report import EvalResult
from webui.training.stages import NAME

if TYPE_CHECKING:
    from webui.models.model import Model
    from webui.training.learned.concepts import Placeholder
    from webui.training.setup import TrainingSetup

CONTEXTS = (
    "a photo of a [name] in the desert",
    "a photo of a [name] on the beach",
    "a photo of a [name] in the snow",
    "a photo of a [name] in a forest at night",
    "a photo of a [name] on a red background",
    "a photo of a [name] on a blue background",
    "a green [name]",
    "a purple [name]",
    "a small [name] and a large house",
    "a [name] beside a tree",
    "a [name] under water",
    "a [name] made of wood",
    "a watercolor painting of a [name]",
    "a pencil drawing of a [name]",
    "a neon sign of a [name]",
    "a [name] as pixel art",
)
"""Prompts whose other words must keep their meaning beside the name."""


Measured = Callable[[int, int], None]
"""Is told how many of how many batches of inputs are measured."""


def untold(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """The words that vectors are compared with."""

    model: Model
    initializer_ids: Sequence[int]


def baseline_of(setup: TrainingSetup, placeholder: Placeholder) -> Baseline:
    """Return what the vectors of one of a run's names are compared with."""
    return Baseline(setup.model, placeholder.initializer_ids)


@dataclass(frozen=True, eq=False)
class EvalSet:
    """Fixed inputs, and what the initializer and the empty prompt make of them."""

    batch: Batch
    """Latents of several sizes may be in it; the noise is as large as the largest sides, and what
    goes beyond a latent is not used."""
    lines: tuple[str, ...]
    """A caption per input."""
    held_out: Tensor
    """``[n]`` bool: inputs of the picture that training does not see."""
    concepts: Tensor
    """``[n]`` int64: which of the run's names each input shows."""
    initializer: Tensor
    """``[n]`` error with the initializer's words in place of the name."""
    empty: Tensor
    """``[n]`` error with an empty prompt."""


def prepare_eval_set(setup: TrainingSetup, count: int, measured: Measured = untold) -> EvalSet:
    """Fix ``count`` inputs of the training crops and half as many of the held-out ones."""
    draw = generator_for(setup.recipe.seed, "examination", count)
    centres = range(0, len(setup.latents.pictures), setup.crops_per_picture)
    seen = setup.by_turns([index for index in centres if index in setup.training_crops])
    unseen = setup.by_turns([index for index in centres if index not in setup.training_crops])
    crops, held = _cycle(seen, count), [False] * count
    if unseen:
        extra = _cycle(unseen, (count + 1) // 2)
        crops, held = crops + extra, held + [True] * len(extra)
    heights, widths = zip(*(setup.latents.size(crop) for crop in crops), strict=True)
    shape = (len(crops), len(setup.latents.mean[0]), max(heights), max(widths))
    total = setup.schedule.config["num_train_timesteps"]
    spread = (torch.arange(len(crops)) * 0.61803398875) % 1.0  # evenly, in both parts
    batch = Batch(
        torch.tensor(crops),
        torch.randn(shape, generator=draw),
        torch.randn(shape, generator=draw),
        ((0.05 + 0.9 * spread) * total).long(),
    )
    lines = tuple(
        setup.line(setup.latents.pictures[crop], float(torch.rand((), generator=draw)), at)
        for crop, at in zip(crops, spread.tolist(), strict=True)
    )
    words = errors_of(setup, batch, lines, setup.initializers, lambda at, of: measured(at, 2 * of))
    empty = errors_of(
        setup, batch, [NAME] * len(lines), [()], lambda at, of: measured(of + at, 2 * of)
    )
    concepts = torch.tensor([setup.concept_of(crop) for crop in crops])
    return EvalSet(batch, lines, torch.tensor(held), concepts, words, empty)


def _cycle(items: Sequence[int], count: int) -> list[int]:
    return [items[number % len(items)] for number in range(count)]


@torch.no_grad()
def errors_of(
    setup: TrainingSetup,
    batch: Batch,
    lines: Sequence[str],
    names: Mapping[str, Tensor] | Sequence[Sequence[int]],
    measured: Measured = untold,
) -> Tensor:
    """Return the error per input, ``[n]`` on the CPU; ``names`` as ``TrainingSetup.captions``."""
    chunks = setup.captions(lines, names)
    errors = torch.zeros(len(batch.crops))
    parts = list(_parts(setup, batch))
    for number, (part, (height, width)) in enumerate(parts):
        measured(number, len(parts))
        piece = Batch(
            batch.crops[part],
            batch.latent_noise[part, :, :height, :width],
            batch.noise[part, :, :height, :width],
            batch.timesteps[part],
        )
        captions = encode(setup.model, [chunks[index] for index in part])
        errors[part] = denoising_errors(
            setup.model,
            setup.schedule,
            setup.latents,
            piece,
            captions,
            setup.compute_dtype,
            guide=setup.guide(piece.crops.tolist()),
        ).cpu()
    measured(len(parts), len(parts))
    return errors


def _parts(setup: TrainingSetup, batch: Batch) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Yield inputs that can be computed together, with height and width of their latents."""
    sizes = [setup.latents.size(crop) for crop in batch.crops.tolist()]
    many = 2 * setup.recipe.batch_size
    for size in dict.fromkeys(sizes):
        alike = [index for index, other in enumerate(sizes) if other == size]
        for start in range(0, len(alike), many):
            yield alike[start : start + many], size


def score(
    setup: TrainingSetup,
    eval_set: EvalSet,
    vectors: Mapping[str, Tensor],
    lora: Lora = MappingProxyType({}),
) -> EvalResult:
    """Measure a run's vectors, and its LoRA, on fixed inputs, those of all names together."""
    return score_each(setup, eval_set, vectors, lora)[0]


def score_each(
    setup: TrainingSetup,
    eval_set: EvalSet,
    vectors: Mapping[str, Tensor],
    lora: Lora = MappingProxyType({}),
) -> tuple[EvalResult, tuple[EvalResult, ...]]:
    """Measure as ``score``; also each name's vectors on the inputs that show it."""
    with applied_lora(setup.model.unet, lora):
        learned = errors_of(setup, eval_set.batch, eval_set.lines, vectors)
    together = _result(setup, eval_set, learned, torch.ones_like(eval_set.held_out))
    if len(setup.placeholders) == 1:
        return together, (together,)
    return together, tuple(
        _result(setup, eval_set, learned, eval_set.concepts == number)
        for number in range(len(setup.placeholders))
    )


def _result(setup: TrainingSetup, eval_set: EvalSet, errors: Tensor, of: Tensor) -> EvalResult:
    """Compare the errors ``[n]`` of the inputs ``of`` (``[n]`` bool) with the initializer's."""
    learned, base, held = errors[of], eval_set.initializer[of], eval_set.held_out[of]
    gain, error = gain_of(learned, base)
    unseen, unseen_error = gain_of(learned[held], base[held]) if held.any() else (None, None)
    total = setup.schedule.config["num_train_timesteps"]
    third = (eval_set.batch.timesteps[of] * 3 // total).clamp(max=2)

    def gain_at(part: int) -> float:
        return gain_of(learned[third == part], base[third == part])[0]

    return EvalResult(
        loss=float(learned.mean()),
        gain=gain,
        error=error,
        held_out=unseen,
        held_out_error=unseen_error,
        over_empty=gain_of(learned, eval_set.empty[of])[0],
        thirds=(gain_at(0), gain_at(1), gain_at(2)),
    )


def gain_of(learned: Tensor, base: Tensor) -> tuple[float, float]:
    """Return 1 - mean(learned) / mean(base) of paired errors ``[n]``, and its standard error.

    The error is that of a ratio of means, by the delta method. NaN without inputs.
    """
    if not len(base):
        return math.nan, math.nan
    ratio = float(learned.mean() / base.mean())
    if len(base) < 2:
        return 1 - ratio, math.nan
    spread = (learned - ratio * base).std() / base.mean() / math.sqrt(len(base))
    return 1 - ratio, float(spread)


@torch.no_grad()
def editability(baseline: Baseline, vectors: Mapping[str, Tensor]) -> float:
    """Return how much the words after the name keep their encodings, as a mean cosine.

    Compared with the initializer in the name's place, word by word from the end (the context term
    of CoRe, arXiv 2408.15914, as a measure). Around 1 for ordinary words.
    """
    ours = Insert(Embedding("", vectors))
    theirs = Words(tuple(baseline.initializer_ids))
    tokenizer = baseline.model.tokenizer
    learned = [lay_out_caption(tokenizer, line, ours) for line in CONTEXTS]
    words = [lay_out_caption(tokenizer, line, theirs) for line in CONTEXTS]
    similar = []
    for encoder in baseline.model.text_encoders:
        with_vectors = encode_with(encoder, learned).hidden  # [contexts, 77, width]
        with_words = encode_with(encoder, words).hidden
        for index, (own, other) in enumerate(zip(learned, words, strict=True)):
            after = own.end - own.slots[0].position - len(ours)  # words between name and end
            if after:
                similar.append(
                    torch.cosine_similarity(
                        with_vectors[index, own.end - after : own.end],
                        with_words[index, other.end - after : other.end],
                        dim=-1,
                    ).mean()
                )
    return float(torch.stack(similar).mean())


def norm_ratio(norms: Mapping[str, float], vectors: Mapping[str, Tensor]) -> Tensor:
    """Return the vectors' mean norm as a multiple of the vocabulary's, ``[]`` on their device.

    ``norms`` are the vocabulary's mean norms per text encoder.
    """
    ratios = [rows.norm(dim=-1).mean() / norms[key] for key, rows in vectors.items()]
    return torch.stack(ratios).mean()


def nearest_words(
    model: Model, vectors: Mapping[str, Tensor], count: int = 5
) -> tuple[tuple[str, ...], ...]:
    """Return the words of the vocabulary at the smallest angles to each vector."""
    encoder = model.text_encoders[0]
    health = examine(
        vectors[encoder.key],
        encoder.vocabulary.weight,
        lambda word: tokens_of(model.tokenizer).text([word]),
        count,
    )
    return tuple(tuple(word for word, _ in found.nearest) for found in health.vectors)
