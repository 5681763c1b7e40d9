"""Pictures of unfinished latents, cheap enough for every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

    from webui.models.model import Model

_SMALL_VAE = 8_000_000
"""A VAE of at most this many parameters decodes a preview in milliseconds."""


class Previewer:
    """Turns latents of one model into small pictures.

    A small VAE decodes them itself. For a large one, a linear map from the four latent channels
    to RGB is fitted once on random latents, which costs one decoding.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        size = sum(parameter.numel() for parameter in model.vae.parameters())
        self._map = None if size <= _SMALL_VAE else _fit_linear(model)

    def __call__(self, latents: Tensor) -> Image.Image:
        """Return the picture of one latent, ``[4, h, w] -> `` RGB of 8·w by 8·h pixels."""
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


def _decode_tensor(model: Model, latents: Tensor) -> Tensor:
    """Return ``[batch, 3, H, W]`` in 0..1."""
    scaled = latents.to(model.vae.dtype) / model.vae.config.scaling_factor
    return (model.vae.decode(scaled).sample.float() / 2 + 0.5).clamp(0, 1)


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
    return torch.linalg.lstsq(inputs, rgb.cpu()[0].flatten(1).T).solution
