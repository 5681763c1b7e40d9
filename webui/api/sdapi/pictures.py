"""Pictures inside JSON: base64, with or without the head of a data URI."""

from __future__ import annotations

import base64
import binascii
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from webui.errors import BadField


def to_text(data: bytes) -> str:
    """Return a file's bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def png_text(image: Image.Image) -> str:
    """Return a picture as base64 of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return to_text(buffer.getvalue())


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
