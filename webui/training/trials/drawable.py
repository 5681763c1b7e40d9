"""Whether a model can draw such pictures at all: its errors on them beside those on its own."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from webui.training.setup import side_of

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
TOO_STRANGE = 2.0
"""So many times the error on the strangest picture of its own, and a model cannot draw such ones.
Of the starter model's world no picture had more than 1.5 times, of photographs none less than 2.7
times."""
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


@torch.no_grad()
def strangeness(model: Model, crop: Crop, latents: LatentCache) -> Strangeness:
    """Measure how badly a model copes with a crop; whoever asks holds the device."""
    freeze(model)
    mean, std = latents.moments(model, crop)
    vae = model.vae
    factor, shift = vae.config["scaling_factor"], vae.config.get("shift_factor") or 0.0
    scaled = (mean / factor + shift)[None].to(vae.device, model.decoder_dtype)
    back = vae.decode(scaled).sample[0].float()
    pixels = torch.from_numpy(np.array(crop.image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
    schedule = schedule_of(model)
    numbers = torch.arange(INPUTS)
    spread = LEAST_NOISE + (MOST_NOISE - LEAST_NOISE) * numbers / (INPUTS - 1)
    draw = generator_for("strangeness")
    batch = Batch(
        torch.zeros(INPUTS, dtype=torch.int64),
        torch.randn((INPUTS, *mean.shape), generator=draw),
        torch.randn((INPUTS, *mean.shape), generator=draw),
        (spread * schedule.config["num_train_timesteps"]).long(),
    )
    nothing = lay_out_caption(model.tokenizer, "", Words(()))
    errors = denoising_errors(
        model,
        schedule,
        gather_latents([crop], [(mean, std)], use_mask=False),
        batch,
        encode(model, [nothing] * INPUTS),
    )
    lost = (back.clamp(-1, 1).cpu() - pixels).square().mean()
    return Strangeness(float(lost), float(errors.mean()))


class OwnPictures:
    """How strange models are to themselves: measured once for each, while it is there."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[nn.Module, Strangeness] = WeakKeyDictionary()

    def strangest(
        self, model: Model, recipe: Recipe, draw: DrawOwn, hold: Hold, latents: LatentCache
    ) -> Strangeness:
        """Return the highest errors that a model has on pictures that it draws itself."""
        known = self._known.get(model.unet)
        if known is None:
            prompts = (model.defaults.get("example_prompts") or PROMPTS)[:OWN_PICTURES]
            drawn = [
                Picture(Path(f"{number}.png"), image, None, str(number), "", False)
                for number, image in enumerate(draw(prompts))
            ]
            found = _all(model, recipe, drawn, hold, latents)
            known = Strangeness(
                max(each.vae for each in found), max(each.denoiser for each in found)
            )
            self._known[model.unet] = known
        return known


def drawable(
    model: Model,
    recipe: Recipe,
    pictures: Sequence[Picture],
    own: OwnPictures,
    draw: DrawOwn,
    hold: Hold,
    latents: LatentCache,
) -> list[Finding]:
    """Look whether a model can draw such pictures as the first ones; nothing is found if it can.

    The device is held for one picture at a time.
    """
    weights = sum(weight.numel() for weight in model.unet.parameters())
    if model.device.type == "cpu" and weights > MOST_WEIGHTS_ON_PROCESSORS:
        return []
    found = _all(model, recipe, pictures[:MOST_PICTURES], hold, latents)
    beside = own.strangest(model, recipe, draw, hold, latents)
    denoiser = statistics.median(each.denoiser for each in found)
    if denoiser < TOO_STRANGE * beside.denoiser:
        return []
    vae = statistics.median(each.vae for each in found)
    return [
        Finding(
            False,
            None,
            f"{model.name} cannot draw such images. Its error on them is {denoiser:.2f}, on the "
            f"strangest of its own {beside.denoiser:.2f}; what its VAE loses of them is {vae:.3f}, "
            f"of its own {beside.vae:.3f}. What it would learn are smears. Press “Get a model” (⤓) "
            "and train on one that knows them, such as Stable Diffusion 1.5 for photographs.",
        )
    ]


def _all(
    model: Model,
    recipe: Recipe,
    pictures: Sequence[Picture],
    hold: Hold,
    latents: LatentCache,
) -> list[Strangeness]:
    found = []
    for crop in make_crops(pictures, side_of(recipe, model), positions=recipe.crop_positions):
        with hold("looking at images"):
            found.append(strangeness(model, crop, latents))
    return found
