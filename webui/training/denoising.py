"""The loss of textual inversion: how well the UNet, given a caption, tells noise from picture."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from webui.devices.copies import send
from webui.errors import AppError
from webui.libraries import DDPMScheduler
from webui.models.model import Model
from webui.prompting.encoding import Encoded, size_conditioning

if TYPE_CHECKING:
    from webui.training.crops import Crop

_SCHEDULE_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
)


@dataclass(frozen=True, eq=False)
class Latents:
    """What the VAE makes of the crops, kept instead of the VAE's work in each step."""

    mean: Sequence[Tensor]
    """``[4, h, w]`` float32 of each crop, scaled as the UNet takes it."""
    std: Sequence[Tensor]
    """``[4, h, w]`` of each; a latent is drawn anew from mean and std each time."""
    weight: Sequence[Tensor]
    """``[1, h, w]`` of each, mean 1: how much each place counts in the loss."""
    pictures: tuple[int, ...]
    """Index of the picture that each crop was cut from."""

    def size(self, crop: int) -> tuple[int, int]:
        """Return height and width of a crop's latent."""
        height, width = self.mean[crop].shape[-2:]
        return height, width


@dataclass(frozen=True, eq=False)
class Batch:
    """The draws of one batch; everything random in it is already decided."""

    crops: Tensor
    """``[b]`` int64, indices of latents of one size."""
    latent_noise: Tensor
    """``[b, 4, h, w]``, which latent is drawn from the moments."""
    noise: Tensor
    """``[b, 4, h, w]``, what is added to it."""
    timesteps: Tensor
    """``[b]`` int64."""


def generator_for(*parts: object) -> torch.Generator:
    """Return a generator whose draws depend on ``parts`` alone, so nothing has to be stored."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def schedule_of(model: Model) -> DDPMScheduler:
    """Return the model's noise schedule; AppError for what training cannot aim at."""
    if model.prediction_type not in ("epsilon", "v_prediction"):
        raise AppError(
            f"The model {model.name} predicts “{model.prediction_type}”; training knows epsilon "
            "and v_prediction only. Load another model."
        )
    config = model.scheduler_config
    schedule: DDPMScheduler = DDPMScheduler(
        **{key: config[key] for key in _SCHEDULE_KEYS if key in config}
    )
    schedule.alphas_cumprod = schedule.alphas_cumprod.to(model.device)
    return schedule


def freeze(model: Model) -> None:
    """Make sure that no weight of the model takes part in learning."""
    for part in (model.unet, model.vae, *(encoder.model for encoder in model.text_encoders)):
        part.requires_grad_(False).eval()


@torch.no_grad()
def encode_crop(model: Model, crop: Crop) -> tuple[Tensor, Tensor]:
    """Return mean and std ``[4, h, w]`` float32 of a crop's latent."""
    pixels = torch.from_numpy(np.array(crop.image, dtype=np.float32)).permute(2, 0, 1)
    vae = model.vae
    found = vae.encode((pixels / 127.5 - 1)[None].to(vae.device, vae.dtype)).latent_dist
    factor, shift = vae.config["scaling_factor"], vae.config.get("shift_factor") or 0.0
    return ((found.mean.float() - shift) * factor)[0], (found.std.float() * factor)[0]


def gather_latents(
    crops: Sequence[Crop], moments: Sequence[tuple[Tensor, Tensor]], use_mask: bool
) -> Latents:
    """Put the crops' moments together, with the weights that their masks give."""
    weights = []
    for crop, (mean, _) in zip(crops, moments, strict=True):
        weight = torch.ones(1, *mean.shape[1:])
        if use_mask and crop.mask is not None:
            alpha = torch.from_numpy(np.array(crop.mask, dtype=np.float32))[None] / 255
            small = torch.nn.functional.adaptive_avg_pool2d(alpha, (mean.shape[1], mean.shape[2]))
            if small.mean() > 0:
                weight = small / small.mean()
        weights.append(weight.to(mean.device))
    return Latents(
        tuple(mean for mean, _ in moments),
        tuple(std for _, std in moments),
        tuple(weights),
        tuple(crop.picture for crop in crops),
    )


@dataclass(frozen=True, eq=False)
class Noised:
    """A batch on the device: what the UNet sees, and what it should say."""

    noisy: Tensor
    """``[b, 4, h, w]`` float32."""
    timesteps: Tensor
    """``[b]`` int64."""
    target: Tensor
    """``[b, 4, h, w]``: the noise, or the velocity."""
    weight: Tensor
    """``[b, 1, h, w]``: how much each place counts."""
    share: Tensor | None
    """``[b]``: Min-SNR's weights, or none."""


def noised(
    model: Model, schedule: DDPMScheduler, latents: Latents, batch: Batch, min_snr: float = 0.0
) -> Noised:
    """Add a batch's noise to its latents."""
    sent = sent_batch(latents, batch, model.device)
    return with_noise(model, schedule.alphas_cumprod, sent, min_snr)


def sent_batch(latents: Latents, batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """Return all that a batch is made of, on a device; shapes as in ``Latents`` and ``Batch``."""
    crops = batch.crops.tolist()
    return {
        "mean": torch.stack([latents.mean[crop] for crop in crops]),
        "std": torch.stack([latents.std[crop] for crop in crops]),
        "weight": torch.stack([latents.weight[crop] for crop in crops]),
        "latent_noise": send(batch.latent_noise, device),
        "noise": send(batch.noise, device),
        "timesteps": send(batch.timesteps, device),
    }


def with_noise(
    model: Model, alphas: Tensor, batch: Mapping[str, Tensor], min_snr: float = 0.0
) -> Noised:
    """Add its noise to what ``sent_batch`` returned; ``alphas [timesteps]`` is what is left of a
    picture's variance (DDPM, arXiv 2006.11239).

    All of it is one graph of computations on the device.
    """
    latent, noise = batch["mean"] + batch["std"] * batch["latent_noise"], batch["noise"]
    left = alphas[batch["timesteps"]]  # [b]
    picture, rest = (part.view(-1, 1, 1, 1) for part in (left**0.5, (1 - left) ** 0.5))
    velocity = model.prediction_type == "v_prediction"
    return Noised(
        noisy=picture * latent + rest * noise,
        timesteps=batch["timesteps"],
        target=picture * noise - rest * latent if velocity else noise,
        weight=batch["weight"],
        share=snr_weights(left, min_snr, velocity) if min_snr else None,
    )


@dataclass(frozen=True, eq=False)
class Guide:
    """What a prediction is guided to, while what is learned stands on the unconditional side."""

    prompts: Encoded
    """One for each sample."""
    scale: float
    """The CFG scale; 0 = no guidance."""


def prediction(
    model: Model,
    given: Noised,
    hidden: Tensor,
    sizes: Mapping[str, Tensor] | None,
    compute_dtype: torch.dtype | None = None,
) -> Tensor:
    """Return what the UNet says of a batch, ``[b, 4, h, w]`` float32.

    ``hidden [b, 77, width]`` and ``sizes`` are the conditioning.
    """
    dtype = model.dtype
    with torch.autocast(model.device.type, compute_dtype) if compute_dtype else nullcontext():
        said: Tensor = model.unet(
            given.noisy.to(dtype), given.timesteps, hidden.to(dtype), added_cond_kwargs=sizes
        ).sample.float()
    return said


def errors_of_prediction(given: Noised, predicted: Tensor) -> Tensor:
    """Return the weighted squared error of a prediction per sample, ``[b]`` float32."""
    errors: Tensor = ((predicted - given.target) ** 2 * given.weight).mean(dim=(1, 2, 3))
    return errors if given.share is None else errors * given.share


def prediction_errors(
    model: Model,
    given: Noised,
    hidden: Tensor,
    sizes: Mapping[str, Tensor] | None,
    compute_dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the weighted squared error of the UNet's prediction per sample, ``[b]`` float32.

    Arguments as of ``prediction``. All of it is one graph of computations on the device.
    """
    return errors_of_prediction(given, prediction(model, given, hidden, sizes, compute_dtype))


def denoising_errors(
    model: Model,
    schedule: DDPMScheduler,
    latents: Latents,
    batch: Batch,
    captions: Encoded,
    compute_dtype: torch.dtype | None = None,
    min_snr: float = 0.0,
    guide: Guide | None = None,
) -> Tensor:
    """Return the weighted squared error of the UNet's prediction per sample, ``[b]`` float32.

    ``compute_dtype`` computes a float32 UNet in this precision where that is safe (autocast). With
    a ``guide`` the prediction is taken after guidance to it, away from the captions; no gradient
    flows through the guide.
    """
    given = noised(model, schedule, latents, batch, min_snr)
    height, width = (length * model.latent_scale for length in given.noisy.shape[-2:])

    def said(words: Encoded) -> Tensor:
        sizes = size_conditioning(model, words.pooled, height, width)
        return prediction(model, given, words.hidden, sizes, compute_dtype)

    predicted = said(captions)
    if guide:
        with torch.no_grad():
            towards = said(guide.prompts)
        predicted = predicted + guide.scale * (towards - predicted)
    return errors_of_prediction(given, predicted)


def snr_weights(left: Tensor, gamma: float, velocity: bool) -> Tensor:
    """Return Min-SNR's weight per sample (arXiv 2303.09556), ``[b]``, as is ``left``: what is left
    of the picture's variance."""
    snr = left / (1 - left)
    capped = snr.clamp(max=gamma)
    return capped / (snr + 1) if velocity else torch.where(snr > 0, capped / snr, 1.0)
