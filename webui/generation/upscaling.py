"""Enlarging latents between the first and the second pass of hires fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from PIL import Image

from webui.generation.preview import decode, encode

if TYPE_CHECKING:
    from torch import Tensor

    from webui.models.model import Model

UPSCALERS: Mapping[str, str] = {
    "Latent": "bilinear",
    "Latent (nearest)": "nearest",
    "Latent (bicubic)": "bicubic",
    "Lanczos": "lanczos",
}
"""How each upscaler interpolates, by AUTOMATIC1111's names: latents, or pixels for Lanczos."""


def upscale(model: Model, latents: Tensor, upscaler: str, width: int, height: int) -> Tensor:
    """Enlarge latents ``[batch, 4, h, w]`` to ``width`` by ``height`` pixels.

    Where the proportions differ, the picture covers the new size and is cut at its middle. The
    latent upscalers need a second pass to become sharp; Lanczos decodes, enlarges and encodes.
    """
    rows, columns = height // model.latent_scale, width // model.latent_scale
    old_rows, old_columns = latents.shape[2:]
    scale = max(rows / old_rows, columns / old_columns)
    covering = max(rows, round(old_rows * scale)), max(columns, round(old_columns * scale))
    if UPSCALERS[upscaler] == "lanczos":
        large = _lanczos(model, latents, covering)
    else:
        large = _interpolated(latents, UPSCALERS[upscaler], covering)
    top, left = (covering[0] - rows) // 2, (covering[1] - columns) // 2
    return large[:, :, top : top + rows, left : left + columns].contiguous()


def _interpolated(latents: Tensor, mode: str, size: tuple[int, int]) -> Tensor:
    from torch.nn.functional import interpolate

    options = {} if mode == "nearest" else {"align_corners": False}
    return interpolate(latents, size=size, mode=mode, **options)


def _lanczos(model: Model, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge pictures in pixels; ``size`` is rows and columns of the new latents."""
    height, width = size[0] * model.latent_scale, size[1] * model.latent_scale
    pictures = [
        picture.resize((width, height), Image.Resampling.LANCZOS)
        for picture in decode(model, latents)
    ]
    return encode(model, pictures)
