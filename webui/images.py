"""Opening pictures that come from strangers."""

from __future__ import annotations

import base64
import binascii
import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from webui.errors import AppError, BadField
from webui.files import open_regular
from webui.reader_process import Answer, Ended, Faulty, Reader, shared_reader

MAX_PIXELS = 60_000_000
"""Pictures with more pixels than this are refused before they are decoded."""
MAX_SIDE = 32_768
"""Neither side of a picture may be longer, in pixels."""
SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
}
"""The formats that are opened at all, and how their files are called, the usual ending first."""


def open_picture(path: Path, reader: Reader | None = None) -> Image.Image:
    """Return the first frame of a picture, upright, as RGB or, with transparency, RGBA.

    It is decoded by ``reader``, the shared processes if none is given. Raises AppError for files
    that are no picture, are damaged, or are too large.
    """
    told, pixels = _asked(path, reader, pixels_told, str(path))
    return Image.frombuffer(told["mode"], tuple(told["size"]), pixels, "raw", told["mode"], 0, 1)


def small_picture(path: Path, side: int, reader: Reader | None = None) -> bytes:
    """Return a picture as WebP with sides of at most so many pixels; otherwise ``open_picture``."""
    return _asked(path, reader, small_told, str(path), side)[1]


def pixels_told(path: str) -> Answer:
    """Return a picture's mode and size, and its pixels. Raises AppError."""
    with opened(Path(path)) as image:
        plain = _plain(ImageOps.exif_transpose(image))
        return {"mode": plain.mode, "size": plain.size}, plain.tobytes()


def small_told(path: str, side: int) -> Answer:
    """Return a picture as a small WebP. Raises AppError."""
    with opened(Path(path)) as image:
        image.draft("RGB", (side, side))
        plain = _plain(ImageOps.exif_transpose(image))
        plain.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        plain.save(buffer, "WEBP", quality=85)
        return {}, buffer.getvalue()


def _asked(path: Path, reader: Reader | None, *question: Any) -> Answer:
    try:
        return (reader or shared_reader()).ask(*question)
    except (Ended, Faulty) as error:
        raise AppError(f"{path.name} is damaged and cannot be read. {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Yield a picture that is not decoded yet.

    Raises AppError for files that are no picture or are too large, and for those that turn out
    to be damaged inside the ``with`` block.
    """
    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=tuple(SUFFIXES))
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise AppError(
                    f"{path.name} has {image.width}×{image.height} pixels, which is too large."
                )
            yield image
    except AppError:
        raise
    except UnidentifiedImageError as error:
        raise AppError(f"{path.name} is not an image.") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise AppError(f"{path.name} is damaged and cannot be read.") from error


def size_of(path: Path) -> tuple[int, int]:
    """Return a picture's width and height in pixels without decoding it; errors of ``opened``."""
    with opened(path) as image:
        return image.size


def fitting_suffix(path: Path) -> str:
    """Return the ending that a picture's content asks for: the file's own, if it fits.

    Raises AppError for what is no picture.
    """
    with opened(path) as image:
        suffixes = SUFFIXES[image.format or ""]
    own = path.suffix.lower()
    return own if own in suffixes else suffixes[0]


def _plain(image: Image.Image) -> Image.Image:
    """Return any mode as RGB, or RGBA where something is transparent."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = image.point(lambda value: value / 257).convert("L")
    transparent = "A" in image.getbands() or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def to_bytes(text: str, field: str) -> bytes:
    """Return the bytes of a base64 text; BadField if it is none."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadField(field, f"“{field}” is not the base64 text of an image.") from error
    if not data:
        raise BadField(field, f"“{field}” is empty; it takes the base64 text of an image.")
    return data


@contextmanager
def as_files(texts: list[str], field: str) -> Iterator[list[Path]]:
    """Yield files with the pictures of base64 texts; they are gone after the ``with`` block."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, text in enumerate(texts, start=1):
            paths.append(Path(folder) / f"{number:02d}.png")
            paths[-1].write_bytes(to_bytes(text, field))
        yield paths
