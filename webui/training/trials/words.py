"""Words tried as initializers on the images that are to be learned, with the frozen model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from webui.prompting.chunks import Words
from webui.prompting.encoding import encode
from webui.prompting.tokens import tokens_of
from webui.training.captions import TEXT, lay_out_caption, templates_of
from webui.training.crops import make_crops
from webui.training.denoising import (
    Batch,
    denoising_errors,
    freeze,
    gather_latents,
    generator_for,
    schedule_of,
)
from webui.training.setup import as_learned, compute_dtype_of, side_of
from webui.training.trials.latents import Hold, LatentCache

if TYPE_CHECKING:
    from webui.libraries import DDPMScheduler
    from webui.models.model import Model
    from webui.training.dataset import Picture
    from webui.training.denoising import Latents
    from webui.training.recipe import Recipe


THINGS = tuple(
    "person woman man child face dog cat bird fish horse rabbit bear fox lion elephant insect "
    "butterfly dinosaur dragon robot doll toy puppet statue monster house castle tower church "
    "bridge room window door road car bus truck train bicycle boat airplane rocket tree flower "
    "leaf grass plant mushroom cactus forest mountain hill river sea beach desert sky cloud moon "
    "sun star fire snow apple banana orange bread cake food cup mug bottle bowl plate teapot vase "
    "lamp clock chair table bed sofa book bag shoe hat shirt dress ring crown necklace sword "
    "guitar drum ball balloon umbrella kite flag sign logo letter circle square triangle heart "
    "cross diamond arrow".split()
)
MANNERS = tuple(
    "photo painting watercolor drawing sketch cartoon comic illustration poster print engraving "
    "mosaic collage graffiti fresco pastel crayon ink charcoal pencil anime fantasy abstract "
    "impressionist cubist gothic vintage sepia monochrome neon pixel embroidery clay origami "
    "stained-glass blueprint render film polaroid".split()
)
FAULTS = tuple(
    "blurry blur hazy foggy gray pale dark noise noisy grain dirty ugly bad broken distorted "
    "deformed low-quality sketch faded overexposed artifacts pixelated crooked watermark".split()
)
CANDIDATES = {"object": THINGS, "style": MANNERS, "negative": FAULTS}
"""Words that are tried, by what is learned."""
ROUNDS = ((1, 200), (4, 24), (8, 10), (16, 5))
"""(inputs that each word of a round is tried on, how many words the next round has)."""
BATCH, BEST = 8, 5
SAME = 1e-5
"""Errors that differ by no more than this part are of words that the model does not know apart."""
UNKNOWN = 4
"""So many words that it does not know apart say nothing to it; none of them is a start."""
PATIENCE_S = 8.0
"""So long words are tried; a slower machine tries fewer, or on fewer inputs."""
MIXED = 10
"""Words are tried in strides of so many, so that some of each sort are, however short the time."""
MOST_PICTURES = 5
LEAST_NOISE, MOST_NOISE = 0.3, 0.95
"""Parts of the schedule that are tried: where there is less noise, words hardly matter."""


@dataclass(frozen=True)
class WordTried:
    """A word that images could be learned from."""

    word: str
    error: float
    """Mean error of the images' noise with the word in the captions, on fixed inputs."""
    gain: float
    """How much smaller that is than with nothing in its place, 0 to 1."""


@dataclass(frozen=True)
class Trial:
    """How far the trying is."""

    done: int
    total: int
    """Inputs, one for a word and an image each."""
    tried: int = 0
    """Words of which at least one input was done."""
    best: tuple[WordTried, ...] = ()
    """At the end the five best, the best first."""
    name: str = ""
    """Which of several names the words are for."""


def suggest(
    model: Model,
    recipe: Recipe,
    pictures: Sequence[Picture],
    latents: LatentCache,
    hold: Hold,
    patience_s: float = PATIENCE_S,
) -> Iterator[Trial]:
    """Try the words for what a recipe learns on the first pictures; the last answer has the best.

    The device is held for one picture or one batch at a time. Raises AppError for a model that
    training knows nothing of.
    """
    pictures = pictures[:MOST_PICTURES]
    cut = make_crops(pictures, side_of(recipe, model), positions=recipe.crop_positions)
    crops, moments = as_learned(recipe, cut), []
    for crop in crops:
        with hold("preparing images"):
            moments.append(latents.moments(model, crop))
    freeze(model)
    known = gather_latents(crops, moments, recipe.use_mask)
    measure = _Measure(model, recipe, schedule_of(model), known)
    words = CANDIDATES[recipe.kind]
    mixed = (word for first in range(MIXED) for word in words[first::MIXED])
    errors: dict[str, list[float]] = {word: [] for word in ("", *mixed)}
    left, begun, done = list(errors), 0, 0
    end = time.monotonic() + patience_s
    for number, (inputs, keep) in enumerate(ROUNDS):
        total = done + _inputs_of(ROUNDS[number:], len(left))
        pairs = [(word, begun + at) for at in range(inputs) for word in left]
        for at in range(0, len(pairs), BATCH):
            with hold("trying words"):
                found = measure.errors(pairs[at : at + BATCH])
            for (word, _), error in zip(pairs[at : at + BATCH], found, strict=False):
                errors[word].append(error)
            done += len(found)
            if time.monotonic() > end:
                yield _outcome(errors, left, total)
                return
            yield Trial(done, total)
        begun += inputs
        left = ["", *_distinct(errors, left[1:])[:keep]]
    yield _outcome(errors, left, total)


def _distinct(errors: Mapping[str, Sequence[float]], words: Sequence[str]) -> list[str]:
    """Return words, the best first; of those that a model does not tell apart one, or none."""
    means = {word: statistics.fmean(errors[word]) for word in words}
    groups: list[list[str]] = []
    for word in sorted(words, key=lambda word: means[word]):
        if groups and means[word] - means[groups[-1][-1]] <= SAME * means[word]:
            groups[-1].append(word)
        else:
            groups.append([word])
    return [group[0] for group in groups if len(group) < UNKNOWN]


def _inputs_of(rounds: Sequence[tuple[int, int]], words: int) -> int:
    """Return how many inputs rounds have; ``words`` are those of the first, with none."""
    total = 0
    for inputs, keep in rounds:
        total += inputs * words
        words = min(words, keep + 1)
    return total


def _outcome(errors: Mapping[str, Sequence[float]], left: Sequence[str], total: int) -> Trial:
    """Return the best of the words that are left, compared on the inputs that all of them had."""
    count = max(1, min(len(errors[word]) for word in left))
    fair = {word: errors[word][:count] for word in left if errors[word]}
    nothing = statistics.fmean(fair.pop(""))
    best = [(word, statistics.fmean(fair[word])) for word in _distinct(fair, [*fair])[:BEST]]
    tried = sum(bool(found) for word, found in errors.items() if word)
    words = (WordTried(word, mean, 1 - mean / nothing) for word, mean in best)
    return Trial(total, total, tried, tuple(words))


@dataclass(frozen=True, eq=False)
class _Measure:
    """What words are measured with; an input is a number, and the same for each word."""

    model: Model
    recipe: Recipe
    schedule: DDPMScheduler
    latents: Latents

    @torch.no_grad()
    def errors(self, pairs: Sequence[tuple[str, int]]) -> list[float]:
        """Return the error of each word on an input."""
        total = self.schedule.config["num_train_timesteps"]
        shape = self.latents.mean[0].shape
        lines = templates_of(self.recipe)
        noises, latent_noises, chunks = [], [], []
        for word, number in pairs:
            draw = generator_for("words", number)
            latent_noises.append(torch.randn(shape, generator=draw))
            noises.append(torch.randn(shape, generator=draw))
            ids = tokens_of(self.model.tokenizer).of(word)
            line = lines[number % len(lines)].replace(TEXT, "")
            chunks.append(lay_out_caption(self.model.tokenizer, line, Words(ids)))
        numbers = torch.tensor([number for _, number in pairs])
        spread = LEAST_NOISE + (MOST_NOISE - LEAST_NOISE) * ((numbers * 0.61803398875) % 1.0)
        batch = Batch(
            numbers % len(self.latents.mean),
            torch.stack(latent_noises),
            torch.stack(noises),
            (spread * total).long(),
        )
        kind = compute_dtype_of(self.recipe, self.model)
        dtype = kind if self.model.device.type == "cuda" else None
        captions = encode(self.model, chunks)
        return denoising_errors(
            self.model, self.schedule, self.latents, batch, captions, dtype
        ).tolist()
