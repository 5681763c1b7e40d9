"""Crops of the training pictures: squares, or several shapes of one area (buckets)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from webui.training.dataset import Picture

Size = tuple[int, int]
"""Width and height in pixels."""
MOST_CROPS = 1000
"""Crops of a concept, unless it has more pictures; they are held in memory and encoded."""
LONGEST = 2
"""Sides are at most so many times as long as a square's, and at least one part of it."""
PLAIN = (
    (215, 55, 50), (240, 205, 70), (60, 155, 80), (50, 95, 200),
    (130, 70, 170), (25, 25, 25), (240, 240, 240), (130, 130, 130),
)  # fmt: skip
"""Colours of plain backgrounds, such as paper has."""
SEVERAL = 5
"""So many of them are used."""
USUAL_STEP = 64
"""Sides are multiples of so many pixels where pictures are 512 pixels wide or more."""


def bucket_sizes(side: int, step: int) -> tuple[Size, ...]:
    """Return the sizes that pictures may be trained at: none larger in area than a square.

    Their sides are multiples of ``step`` pixels (of 64 too, from squares of 512 pixels on), from
    half of ``side`` to twice as long; the widest shape comes last.
    """
    step = math.lcm(step, USUAL_STEP) if side >= 512 else step
    sizes = {(side, side)}
    for width in range(step, LONGEST * side + 1, step):
        height = side * side // width // step * step
        if width * LONGEST >= side and side <= height * LONGEST <= side * LONGEST**2:
            sizes |= {(width, height), (height, width)}
    return tuple(sorted(sizes, key=lambda size: (size[0] / size[1], size[0])))


def bucket_of(size: Size, buckets: Sequence[Size]) -> Size:
    """Return the bucket whose shape is nearest to a picture's; of equal ones the largest."""
    shape = math.log(size[0] / size[1])
    return min(
        buckets, key=lambda item: (abs(math.log(item[0] / item[1]) - shape), -item[0] * item[1])
    )


@dataclass(frozen=True, eq=False)
class Crop:
    """A piece cut from a picture, of the size it is trained at: a square, or a bucket's shape."""

    picture: int
    """Index of the picture it was cut from."""
    image: Image.Image
    mask: Image.Image | None


def make_crops(
    pictures: Sequence[Picture],
    side: int,
    crops: int = 1,
    flip: bool = False,
    seed: int = 0,
    positions: Sequence[float] = (),
    buckets: Sequence[Size] = (),
) -> list[Crop]:
    """Make each picture's own crop (``box_of``), then ``crops - 1`` random ones.

    They are squares of ``side`` pixels, scaled and never squashed; random crops take 70 to 100 %
    of the short side. With ``flip`` each is there a second time, mirrored. ``positions`` as in
    ``Recipe.crop_positions``. With ``buckets`` each is cut to the shape among them that is nearest
    to the picture's own. Of very many pictures fewer random crops are made: ``MOST_CROPS``.
    """
    made = []
    crops = max(1, min(crops, MOST_CROPS // (max(1, len(pictures)) * (2 if flip else 1))))
    for index, picture in enumerate(pictures):
        draw = random.Random(f"{seed} {picture.sha256}")
        size = size_in(picture, side, buckets)
        shape = size[0] / size[1]
        for number in range(crops):
            if number == 0:
                box = box_of(picture, positions[index] if index < len(positions) else -1, shape)
            else:
                part = draw.uniform(0.7, 1.0)
                box = _box(picture.image.size, part, draw.random(), draw.random(), shape)
            image = picture.image.resize(size, Image.Resampling.LANCZOS, box=box)
            mask = picture.mask and picture.mask.resize(size, Image.Resampling.BOX, box=box)
            made.append(Crop(index, image, mask))
            if flip:
                made.append(Crop(index, ImageOps.mirror(image), mask and ImageOps.mirror(mask)))
    return made


def size_in(picture: Picture, side: int, buckets: Sequence[Size] = ()) -> Size:
    """Return the size a picture is cut to: a square, or the bucket nearest to its shape."""
    return bucket_of(picture.image.size, buckets) if buckets else (side, side)


def box_of(
    picture: Picture, position: float = -1, shape: float = 1.0
) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a picture's crop in pixels.

    ``position`` is where along the long side it lies, 0 to 1; -1 = where there is most detail.
    ``shape`` is the crop's width as a multiple of its height; 1 = a square.
    """
    across, down = focus(picture, shape) if position < 0 else (position, position)
    return _box(picture.image.size, 1.0, across, down, shape)


def focus(picture: Picture, shape: float = 1.0) -> tuple[float, float]:
    """Return where along the width and the height the crop with most detail lies, 0 to 1 each.

    Between crops that are nearly as detailed the one nearer to the middle is taken. ``shape`` as
    for ``box_of``.
    """
    width, height = picture.image.size
    if width == height * shape:
        return 0.5, 0.5
    scale = 64 / min(width, height)
    size = (max(64, round(width * scale)), max(64, round(height * scale)))
    values = np.asarray(picture.image.convert("L").resize(size), dtype=np.float32)
    detail = np.hypot(*np.gradient(values))
    if picture.mask is not None:
        detail *= np.asarray(picture.mask.resize(size), dtype=np.float32) / 255
    wide = width > height * shape
    along = detail.sum(axis=0 if wide else 1)  # [positions on the side that is cut]
    kept = size[1] * shape if wide else size[0] / shape
    window = np.ones(min(len(along), max(1, round(kept))))
    inside = np.convolve(along, window, mode="valid") / max(1e-6, float(along.sum()))
    positions = np.linspace(0, 1, len(inside))
    best = float(positions[int(np.argmax(inside - 0.2 * np.abs(positions - 0.5)))])
    return (best, 0.5) if wide else (0.5, best)


def _box(
    size: Size, part: float, across: float, down: float, shape: float
) -> tuple[float, float, float, float]:
    kept_width, kept_height = (length * part for length in extent(size, shape))
    left, top = (size[0] - kept_width) * across, (size[1] - kept_height) * down
    return left, top, min(size[0], left + kept_width), min(size[1], top + kept_height)


def extent(size: Size, shape: float) -> tuple[float, float]:
    """Return width and height of the largest piece of a shape in a picture of a size."""
    width = min(size[0], size[1] * shape)
    return width, min(size[1], width / shape)


def before_plain(crops: Sequence[Crop]) -> list[Crop]:
    """Return crops in which a plain colour has the place of what their masks leave out.

    Where that only counts nothing, a thing's outline is not learned either: nothing tells where it
    ends. Pictures take turns with the colours that are farthest from the things'. Crops without a
    mask, or whose mask leaves nothing, stay as they are.
    """
    things = {index: own for index, crop in enumerate(crops) if len(own := _left(crop))}
    if not things:
        return list(crops)
    colours = np.concatenate(list(things.values()))  # [n, 3]
    distances = [np.percentile(np.linalg.norm(colours - plain, axis=1), 10) for plain in PLAIN]
    farthest = [PLAIN[place] for place in np.argsort(distances)[::-1][:SEVERAL]]
    made = []
    for index, crop in enumerate(crops):
        if index in things and crop.mask is not None:
            colour = farthest[crop.picture % SEVERAL]
            behind = Image.new("RGB", crop.image.size, colour)
            crop = Crop(crop.picture, Image.composite(crop.image, behind, crop.mask), None)
        made.append(crop)
    return made


def _left(crop: Crop) -> np.ndarray:
    """Return the colours of about a thousand places that a mask leaves, ``[n, 3]``."""
    if crop.mask is None:
        return np.empty((0, 3))
    step = max(1, crop.image.width // 32)
    there = np.asarray(crop.mask)[::step, ::step] > 127
    return np.asarray(crop.image, np.float32)[::step, ::step][there]
