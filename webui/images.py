"""Opening pictures that come from strangers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from webui.errors import AppError

MAX_PIXELS = 60_000_000
"""Pictures with more pixels than this are refused before they are decoded."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Picture formats that are opened at all, whatever the file is called."""


def open_picture(path: Path) -> Image.Image:
    """Return the first frame of a picture, upright, as RGB or, with transparency, RGBA.

    Raises AppError for files that are no picture, are damaged, or are too large.
    """
    with opened(path) as image:
        return _plain(ImageOps.exif_transpose(image))


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Yield a picture that is not decoded yet.

    Raises AppError for files that are no picture or are too large, and for those that turn out
    to be damaged inside the ``with`` block.
    """
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise AppError(
                    f"{path.name} has {image.width}×{image.height} pixels, which is too large."
                )
            yield image
    except AppError:
        raise
    except UnidentifiedImageError as error:
        raise AppError(f"{path.name} is not a picture.") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise AppError(f"{path.name} is damaged and cannot be read.") from error


def _plain(image: Image.Image) -> Image.Image:
    """Return any mode as RGB, or RGBA where something is transparent."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = image.point(lambda value: value / 257).convert("L")
    transparent = "A" in image.getbands() or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")
