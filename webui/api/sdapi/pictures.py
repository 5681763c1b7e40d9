"""Pictures that answers hold: base64."""

from __future__ import annotations

import base64
import io

from PIL import Image


def to_text(data: bytes) -> str:
    """Return a file's bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def png_text(image: Image.Image) -> str:
    """Return a picture as base64 of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return to_text(buffer.getvalue())
