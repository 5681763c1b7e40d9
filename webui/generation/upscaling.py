"""Enlarging pictures between the first and the second pass of hires fix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from webui.generation.esrgan import Upscaler, read_upscaler
from webui.generation.preview import decode, encode

if TYPE_CHECKING:
    from torch import Tensor

    from webui.models.model import Model

FOLDERS = ("esrgan", "realesrgan", "upscale_models")
"""Sub-folders of a models folder with networks that enlarge: AUTOMATIC1111's and ComfyUI's."""
FILES = (".pth", ".pt", ".ckpt", ".safetensors")
MOST_TIMES = 3
"""So often a network is applied to reach a size."""


@dataclass(frozen=True)
class _Latent:
    """How latents are interpolated."""

    mode: str
    smooth: bool = False
    """Whether what lies between is averaged, too ("antialias")."""


LATENT_UPSCALERS: Mapping[str, _Latent] = {
    "Latent": _Latent("bilinear"),
    "Latent (antialiased)": _Latent("bilinear", smooth=True),
    "Latent (bicubic)": _Latent("bicubic"),
    "Latent (bicubic antialiased)": _Latent("bicubic", smooth=True),
    "Latent (nearest)": _Latent("nearest"),
    "Latent (nearest-exact)": _Latent("nearest-exact"),
}
PIXEL_UPSCALERS: Mapping[str, Image.Resampling] = {
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
}
UPSCALERS: Mapping[str, _Latent | Image.Resampling] = {
    **LATENT_UPSCALERS,
    "None": Image.Resampling.LANCZOS,
    **PIXEL_UPSCALERS,
}
"""What needs no file, by AUTOMATIC1111's names, whose None resizes as Lanczos does."""
_ALIASES = {
    "latent nearest": "Latent (nearest)",
    "latent nearest exact": "Latent (nearest-exact)",
    "latent bilinear": "Latent",
    "latent bilinear antialias": "Latent (antialiased)",
    "latent bicubic": "Latent (bicubic)",
    "latent bicubic antialias": "Latent (bicubic antialiased)",
    "resize lanczos": "Lanczos",
    "resize nearest": "Nearest",
}
"""Names in other programs, in lower case."""


def upscaler_name(name: Any) -> Any:
    """Return AUTOMATIC1111's name of an upscaler that another program calls differently."""
    return _ALIASES.get(name.casefold(), name) if isinstance(name, str) else name


def list_upscalers(*models: Path) -> dict[str, Path]:
    """Return the networks that enlarge in models folders, by their file names without extension."""
    places = (place for folder in models if folder.is_dir() for place in sorted(folder.iterdir()))
    found: dict[str, Path] = {}
    for place in places:
        if place.name.lower() in FOLDERS and place.is_dir():
            for file in sorted(place.rglob("*")):
                if file.suffix.lower() in FILES and file.is_file():
                    found.setdefault(file.stem, file)
    return found


def upscale(
    model: Model,
    latents: Tensor,
    upscaler: str,
    width: int,
    height: int,
    files: Mapping[str, Path] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """Enlarge latents ``[batch, 4, h, w]`` to ``width`` by ``height`` pixels.

    ``upscaler`` is one of ``UPSCALERS`` or of ``files``. Where the proportions differ, the picture
    covers the new size and is cut at its middle. The latent upscalers need a second pass to
    become sharp; the others decode, enlarge and encode. ``check`` is called now and then and may
    raise. Raises UnreadableFile for a network that cannot be used.
    """
    rows, columns = height // model.latent_scale, width // model.latent_scale
    old_rows, old_columns = latents.shape[2:]
    scale = max(rows / old_rows, columns / old_columns)
    covering = max(rows, round(old_rows * scale)), max(columns, round(old_columns * scale))
    how = UPSCALERS.get(upscaler)
    if isinstance(how, _Latent):
        large = _interpolated(latents, how, covering)
    else:
        size = covering[1] * model.latent_scale, covering[0] * model.latent_scale
        if how is None:
            network = read_upscaler((files or {})[upscaler], model.device)
            pictures = [
                _drawn_larger(each, network, size, model, check) for each in decode(model, latents)
            ]
        else:
            pictures = [each.resize(size, how) for each in decode(model, latents)]
        large = encode(model, pictures)
    top, left = (covering[0] - rows) // 2, (covering[1] - columns) // 2
    return large[:, :, top : top + rows, left : left + columns].contiguous()


def _interpolated(latents: Tensor, how: _Latent, size: tuple[int, int]) -> Tensor:
    from torch.nn.functional import interpolate

    return interpolate(latents, size=size, mode=how.mode, antialias=how.smooth)


def _drawn_larger(
    picture: Image.Image,
    network: Upscaler,
    size: tuple[int, int],
    model: Model,
    check: Callable[[], None],
) -> Image.Image:
    """Return a picture at a size in pixels, by a network as often as that needs, then resampled.

    The network is given blue in the place of red and the other way round, as AUTOMATIC1111 does.
    """
    import torch

    for time in range(MOST_TIMES):
        if time and picture.width >= size[0] and picture.height >= size[1]:
            break
        swapped = np.ascontiguousarray(np.asarray(picture.convert("RGB"))[..., ::-1])
        pixels = torch.from_numpy(swapped).to(model.device).permute(2, 0, 1)[None].float() / 255
        large = network.enlarge(pixels, check=check)[0].clamp(0, 1).permute(1, 2, 0).flip(-1)
        picture = Image.fromarray((large * 255).round().byte().cpu().numpy())
        if network.scale == 1:
            break
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
