"""Pictures that tests are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from webui.training.dataset import Picture

RED, BLUE = (200, 30, 30), (30, 30, 200)


def halves(width: int, height: int) -> Image.Image:
    """A picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def as_picture(image: Image.Image, name: str = "a.png") -> Picture:
    return Picture(Path(name), image, None, name, "", False)


def scene(seed: int, side: int = 128) -> Image.Image:
    """A sharp picture of its own."""
    draw = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), tuple(draw.integers(0, 256, 3).tolist()))
    canvas = ImageDraw.Draw(image)
    for _ in range(30):
        x, y, size = draw.integers(0, side, 3).tolist()
        canvas.rectangle(
            (x, y, x + size // 3, y + 9), fill=tuple(draw.integers(0, 256, 3).tolist())
        )
    return image
