"""Whether a model can draw such pictures at all: its errors on them beside those on its own."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from webui.prompting.chunks import Words
from webui.prompting.encoding import encode
from webui.training.captions import lay_out_caption
from webui.training.crops import make_crops
from webui.training.dataset import Picture
from webui.training.denoising import (
    Batch,
    denoising_errors,
    freeze,
    gather_latents,
    generator_for,
    schedule_of,
)
from webui.training.preflight import Finding
from webui.training.setup import as_learned, side_of

if TYPE_CHECKING:
    from PIL import Image
    from torch import nn

    from webui.models.model import Model
    from webui.training.crops import Crop
    from webui.training.recipe import Recipe
    from webui.training.trials.latents import Hold, LatentCache

DrawOwn = Callable[[Sequence[str]], "list[Image.Image]"]
"""Draws a picture of the model's own for each prompt; waits for the device itself."""

INPUTS = 8
"""Noises that each picture is looked at with; the same for all."""
LEAST_NOISE, MOST_NOISE = 0.1, 0.7
"""Parts of the schedule: with more noise all pictures are alike."""
MOST_PICTURES, OWN_PICTURES = 5, 2
TOO_STRANGE = 2.8
"""So many times the error on the strangest picture of its own, and a model cannot draw such ones.
Of the starter model's world no picture had more than 1.9 times, of drawings and styles that it
learned none more than 2.7, of photographs none less than 3.0, of noise none less than 4.7."""
MOST_WEIGHTS_ON_PROCESSORS = 200_000_000
"""A larger UNet would draw for minutes where there is no GPU, so it is not asked there."""
PROMPTS = ("a photo of a dog in a park", "a painting of a house by a lake", "a portrait of a woman")
"""What models draw that recommend no prompts."""


@dataclass(frozen=True)
class Strangeness:
    """How badly a model copes with a picture."""

    vae: float
    """Mean squared error of the picture after its VAE, pixels from -1 to 1."""
    denoiser: float
    """Mean error of the noise that the UNet tells from the picture without any words."""


@dataclass(frozen=True)
class Comparison:
    """A model's errors on pictures beside those on such as it draws itself."""

    pictures: Strangeness
    """The median of theirs."""
    own: Strangeness
    """The highest of its own."""
    words_gain: float
    """How much less its error on its own is with their prompts than without words, 0 to 1."""

    @property
    def strange(self) -> bool:
        """Whether the model cannot draw such pictures."""
        return self.pictures.denoiser >= TOO_STRANGE * self.own.denoiser


@torch.no_grad()
def strangeness(model: Model, crop: Crop, latents: LatentCache) -> Strangeness:
    """Measure how badly a model copes with a crop; whoever asks holds the device."""
    freeze(model)
    mean, _ = latents.moments(model, crop)
    vae = model.vae
    factor, shift = vae.config["scaling_factor"], vae.config.get("shift_factor") or 0.0
    scaled = (mean / factor + shift)[None].to(vae.device, model.decoder_dtype)
    back = vae.decode(scaled).sample[0].float()
    pixels = torch.from_numpy(np.array(crop.image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
    lost = (back.clamp(-1, 1).cpu() - pixels).square().mean()
    spread = torch.linspace(LEAST_NOISE, MOST_NOISE, INPUTS)
    return Strangeness(float(lost), _error(model, crop, latents, "", spread))


@torch.no_grad()
def words_gain(model: Model, crop: Crop, latents: LatentCache, prompt: str) -> float:
    """Return how much less a model's error on a crop is with a prompt than without words, over
    the noises that an embedding's gain is measured with."""
    spread = torch.linspace(0.05, 0.95, 2 * INPUTS)
    said, unsaid = (_error(model, crop, latents, words, spread) for words in (prompt, ""))
    return 1 - said / unsaid


def _error(
    model: Model, crop: Crop, latents: LatentCache, words: str, spread: torch.Tensor
) -> float:
    """Return the mean error on a crop at some noises, ``[n]`` in parts of the schedule."""
    moments, schedule = latents.moments(model, crop), schedule_of(model)
    shape = (len(spread), *moments[0].shape)
    draw = generator_for("strangeness")
    batch = Batch(
        torch.zeros(len(spread), dtype=torch.int64),
        torch.randn(shape, generator=draw),
        torch.randn(shape, generator=draw),
        (spread * schedule.config["num_train_timesteps"]).long(),
    )
    line = lay_out_caption(model.tokenizer, words, Words(()))
    errors = denoising_errors(
        model,
        schedule,
        gather_latents([crop], [moments], use_mask=False),
        batch,
        encode(model, [line] * len(spread)),
    )
    return float(errors.mean())


class OwnPictures:
    """How models cope with pictures of their own: measured once for each, while it is there."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[nn.Module, tuple[Strangeness, float]] = WeakKeyDictionary()

    def looks(self, model: Model) -> int:
        """Return how often ``of`` is going to hold the device beside its drawing."""
        return 0 if model.unet in self._known else 2 * OWN_PICTURES

    def of(
        self, model: Model, recipe: Recipe, draw: DrawOwn, hold: Hold, latents: LatentCache
    ) -> tuple[Strangeness, float]:
        """Return the highest errors of a model on pictures that it draws itself, and what their
        prompts' words gain it."""
        known = self._known.get(model.unet)
        if known is None:
            prompts = (model.defaults.get("example_prompts") or PROMPTS)[:OWN_PICTURES]
            drawn = [
                Picture(Path(f"{number}.png"), image, None, str(number), "", False)
                for number, image in enumerate(draw(prompts))
            ]
            crops = _crops(model, recipe, drawn)
            found = _all(model, crops, hold, latents)
            highest = Strangeness(
                max(each.vae for each in found), max(each.denoiser for each in found)
            )
            gains = []
            for crop, prompt in zip(crops, prompts, strict=True):
                with hold("looking at images"):
                    gains.append(words_gain(model, crop, latents, prompt))
            known = self._known[model.unet] = (highest, statistics.mean(gains))
        return known


def compare(
    model: Model,
    recipe: Recipe,
    pictures: Sequence[Picture],
    own: OwnPictures,
    draw: DrawOwn,
    hold: Hold,
    latents: LatentCache,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison | None:
    """Compare the first pictures with a model's own; None for a large model on a processor.

    The device is held for one picture at a time; ``told`` is told how many of how many times.
    """
    weights = sum(weight.numel() for weight in model.unet.parameters())
    if model.device.type == "cpu" and weights > MOST_WEIGHTS_ON_PROCESSORS:
        return None
    crops = _crops(model, recipe, pictures[:MOST_PICTURES])
    looks, total = count(), len(crops) + own.looks(model)

    def hold_and_tell(who: str) -> AbstractContextManager[None]:
        told(next(looks), total)
        return hold(who)

    found = _all(model, crops, hold_and_tell, latents)
    median = Strangeness(
        statistics.median(each.vae for each in found),
        statistics.median(each.denoiser for each in found),
    )
    beside = Comparison(median, *own.of(model, recipe, draw, hold_and_tell, latents))
    told(total, total)
    return beside


def drawable(model: Model, beside: Comparison | None) -> list[Finding]:
    """Return what is to be said of pictures before a run; nothing if the model can draw such."""
    if beside is None or not beside.strange:
        return []
    found, own = beside.pictures, beside.own
    return [
        Finding(
            False,
            None,
            f"{model.name} cannot draw such images. Its error on them is {found.denoiser:.2f}, on "
            f"the strangest of its own {own.denoiser:.2f}; what its VAE loses of them is "
            f"{found.vae:.3f}, of its own {own.vae:.3f}. What it would learn are smears. Press "
            "“Get a model” (⤓) and train on one that knows them, such as Stable Diffusion 1.5 for "
            "photographs.",
        )
    ]


def _crops(model: Model, recipe: Recipe, pictures: Sequence[Picture]) -> list[Crop]:
    cut = make_crops(pictures, side_of(recipe, model), positions=recipe.crop_positions)
    return as_learned(recipe, cut)


def _all(
    model: Model, crops: Sequence[Crop], hold: Hold, latents: LatentCache
) -> list[Strangeness]:
    found = []
    for crop in crops:
        with hold("looking at images"):
            found.append(strangeness(model, crop, latents))
    return found
