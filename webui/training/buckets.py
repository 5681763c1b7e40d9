"""Sizes of about one area in several shapes, so that pictures need not be cut to squares."""

from __future__ import annotations

import math
from collections.abc import Sequence

Size = tuple[int, int]
"""Width and height in pixels."""
LONGEST = 2
"""Sides are at most so many times as long as a square's, and at least one part of it."""
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
