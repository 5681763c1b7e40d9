"""Finished pictures on the disk: names, numbers, and the parameters text inside them."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui.files import replacing

PARAMETERS = "parameters"
"""The PNG text chunk that AUTOMATIC1111 writes and reads."""


def save_picture(image: Image.Image, infotext: str, seed: int, folder: Path) -> Path:
    """Write ``folder/<date>/NNNNN-<seed>.png`` with its parameters text and return the path."""
    place = folder / date.today().isoformat()
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{_next_number(place):05d}-{seed}.png"
    info = PngInfo()
    info.add_text(PARAMETERS, infotext)
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=info)
    return path


def read_parameters(path: Path) -> str | None:
    """Return the parameters text inside a picture, or None if there is none."""
    with Image.open(path) as image:
        text = getattr(image, "text", {}).get(PARAMETERS)
    return text if isinstance(text, str) else None


def _next_number(folder: Path) -> int:
    numbers = (re.match(r"(\d{5,})-", path.name) for path in folder.iterdir())
    return max((int(number[1]) for number in numbers if number), default=-1) + 1
