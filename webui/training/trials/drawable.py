"""Whether a model can draw such pictures at all: its errors on them beside those on its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from webui.prompting.chunks import Words
from webui.prompting.encoding import encode
from webui.training.captions import lay_out_caption
from webui.training.crops import Crop
from webui.training.denoising import (
    Batch,
    denoising_errors,
    freeze,
    gather_latents,
    generator_for,
    schedule_of,
)
from webui.training.trials.latents import LatentCache

if TYPE_CHECKING:
    from PIL import Image

    from webui.models.model import Model

Hold = Callable[[str], AbstractContextManager[None]]
"""Waits for the device and holds it inside the ``with`` block; given who asks."""
DrawOwn = Callable[[], "list[Image.Image]"]
"""Draws pictures of the model's own; waits for the device itself."""

INPUTS = 8
"""Noises that each picture is looked at with; the same for all."""
LEAST_NOISE, MOST_NOISE = 0.1, 0.7
"""Parts of the schedule: with more noise all pictures are alike."""
MOST_PICTURES = 5


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
    back = vae.decode((mean / factor + shift)[None].to(vae.device, vae.dtype)).sample[0].float()
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
