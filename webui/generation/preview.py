"""Latents as pictures and back; previews cheap enough for every step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from webui.models.model import Model

log = logging.getLogger(__name__)

_SMALL_VAE = 8_000_000
"""A VAE of at most this many parameters decodes a preview in milliseconds."""
SHARE = 0.02
"""Part of the time that previews may take from the sampler."""
LONGEST_REST_S = 2.0
"""At least so often there is a preview, unless it takes a fifth of the time even then."""


class Previewer:
    """Turns latents of one model into small pictures.

    A small VAE decodes them itself. For a large one, a linear map from the four latent channels
    to RGB is fitted once on random latents, which costs one decoding.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        size = sum(parameter.numel() for parameter in model.vae.parameters())
        self._map = None if size <= _SMALL_VAE else _fit_linear(model)
        self._took_s = 0.0

    @property
    def rest_s(self) -> float:
        """Seconds to let pass before the next picture, so that they cost about ``SHARE``."""
        return min(self._took_s / SHARE, max(LONGEST_REST_S, 4 * self._took_s))

    def __call__(self, latents: Tensor) -> Image.Image:
        """Return the picture of one latent, ``[4, h, w] -> `` RGB of 8·w by 8·h pixels."""
        if latents.is_cuda:
            import torch

            torch.cuda.synchronize(latents.device)  # else the step before would be timed too
        began = time.perf_counter()
        picture = self._picture(latents)
        self._took_s = time.perf_counter() - began
        return picture

    def _picture(self, latents: Tensor) -> Image.Image:
        if self._map is None:
            return decode(self.model, latents[None])[0]
        flat = latents.float().cpu().flatten(1).T  # [h·w, 4]
        rgb = flat @ self._map[:-1] + self._map[-1]  # [h·w, 3]
        pixels = rgb.reshape(*latents.shape[1:], 3).clamp(0, 1).mul(255).byte().numpy()
        scale = self.model.latent_scale
        return Image.fromarray(pixels).resize(
            (pixels.shape[1] * scale, pixels.shape[0] * scale), Image.Resampling.BILINEAR
        )


def decode(model: Model, latents: Tensor) -> list[Image.Image]:
    """Decode latents with the VAE, ``[batch, 4, h, w] -> `` a picture each."""
    import torch

    with torch.inference_mode():
        rgb = _decode_tensor(model, latents)
    pixels = rgb.mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in pixels]


def encode(model: Model, pictures: Sequence[Image.Image]) -> Tensor:
    """Encode RGB pictures of one size, sides multiples of 8 -> ``[batch, 4, h, w]`` float32.

    The mean of what the VAE says is taken, so that equal pictures give equal latents.
    """
    import torch

    rgb = torch.stack([torch.from_numpy(np.array(picture)) for picture in pictures])
    inputs = rgb.permute(0, 3, 1, 2).to(model.device, torch.float32) / 127.5 - 1

    def run() -> Tensor:
        latents: Tensor = model.vae.encode(inputs.to(model.vae.dtype)).latent_dist.mode()
        return latents

    with torch.inference_mode():
        return _finite(model, model.vae.dtype, run).float() * _scaling(model)


def _decode_tensor(model: Model, latents: Tensor) -> Tensor:
    """Return ``[batch, 3, H, W]`` in 0..1."""
    scaled = latents / _scaling(model)
    sample = _finite(
        model,
        model.decoder_dtype,
        lambda: model.vae.decode(scaled.to(model.decoder_dtype)).sample,
    )
    return (sample.float() / 2 + 0.5).clamp(0, 1)


def _scaling(model: Model) -> float:
    """Return how many times as large as the VAE's own latents are those of the UNet."""
    return float(model.vae.config["scaling_factor"])


def _finite(model: Model, dtype: torch.dtype, run: Callable[[], Tensor]) -> Tensor:
    """Return what the VAE computes; one that overflows in half precision goes on in float32.

    Some VAEs, SDXL's among them, have activations beyond float16's range. From then on the VAE
    stays in float32, so that only one picture is computed twice.
    """
    import torch

    result = run()
    if dtype == torch.float32 or bool(torch.isfinite(result).all()):
        return result
    log.warning("The VAE of %s overflows in %s; it goes on in float32.", model.name, dtype)
    model.vae.float()
    return run()


def _fit_linear(model: Model) -> Tensor:
    """Fit RGB to latents by least squares; returns ``[5, 3]``, the last row the constant."""
    import torch
    from torch.nn.functional import avg_pool2d, interpolate

    noise = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 4, 8, 8, generator=noise)
    latents = interpolate(coarse, scale_factor=4, mode="bicubic").to(model.device)
    with torch.inference_mode():
        rgb = avg_pool2d(_decode_tensor(model, latents), model.latent_scale)
    inputs = latents.float().cpu()[0].flatten(1).T  # [1024, 4]
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    solution: Tensor = torch.linalg.lstsq(inputs, rgb.cpu()[0].flatten(1).T).solution
    return solution
