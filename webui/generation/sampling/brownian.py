"""Noise of a Brownian motion over the noise levels, which SDE samplers add.

What is added between two levels is the way that the motion goes between them, so that the picture
stays the same however finely the levels are divided. The motion is a tree as in the library
torchsde: halves of halves, each split by a bridge whose draw has a seed of its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

DIGITS = 6
"""Levels are told apart to so many decimal places."""
POOL = 24
"""Words of entropy that seeds are mixed from."""
REMEMBERED = 64
"""Pieces of the motion that are kept, which is the way down to two levels and some more."""

Piece = tuple[int, int]
"""Depth in the tree, and the place there from the left."""


class BrownianTree:
    """A Brownian motion from one level to another, given by its seed alone."""

    def __init__(self, low: float, high: float, seed: int, draw: Callable[[int], Tensor]) -> None:
        """``draw`` returns noise of a seed below 2³²."""
        self._seed, self._draw = seed, draw
        self._low, self._high = round(low, DIGITS), round(high, DIGITS)
        state = np.random.SeedSequence(seed, pool_size=POOL).generate_state(3)
        self._whole = draw(int(state[0])) * math.sqrt(high - low)
        self._recent: OrderedDict[Piece, Tensor] = OrderedDict()

    def between(self, low: float, high: float) -> Tensor:
        """Return the way that the motion goes from one level up to another."""
        low, high = (min(max(round(level, DIGITS), self._low), self._high) for level in (low, high))
        if low == high:
            return torch.zeros_like(self._whole)
        return self._between(low, high, (0, 0), self._low, self._high, self._whole)

    def _between(
        self, low: float, high: float, piece: Piece, start: float, end: float, whole: Tensor
    ) -> Tensor:
        """Return the same within a piece of the tree that reaches from ``start`` to ``end``."""
        found: Tensor | None = None
        while not (low == start and high == end):
            middle = round((start + end) / 2, DIGITS)
            left, right = self._halves(piece, start, middle, end, whole)
            depth, place = piece[0] + 1, 2 * piece[1]
            if low < middle < high:
                below = self._between(low, middle, (depth, place), start, middle, left)
                found = below if found is None else found + below
                low = middle
            if high <= middle:
                piece, end, whole = (depth, place), middle, left
            else:
                piece, start, whole = (depth, place + 1), middle, right
        return whole if found is None else found + whole

    def _halves(
        self, piece: Piece, start: float, middle: float, end: float, whole: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the ways of the motion in both halves of a piece (a Brownian bridge)."""
        left = self._recent.get(piece)
        if left is None:
            depth, place = piece
            mixed = np.random.SeedSequence(self._seed, spawn_key=(place, depth), pool_size=POOL)
            noise = self._draw(int(mixed.generate_state(4)[0]))
            length, lower, upper = 1 / (end - start), middle - start, end - middle
            left = lower * whole * length + math.sqrt(lower * upper * length) * noise
            self._recent[piece] = left
            if len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)
        self._recent.move_to_end(piece)
        return left, whole - left


class BrownianNoise:
    """The noise of a batch between levels, each picture's from a tree of its own."""

    def __init__(self, trees: list[BrownianTree]) -> None:
        self._trees = trees

    def __call__(self, level: float, lower: float) -> Tensor:
        """Return ``[batch, 4, h, w]`` of variance 1 for the way down from ``level``."""
        low, high = min(level, lower), max(level, lower)
        ways = torch.stack([tree.between(low, high) for tree in self._trees])
        return ways * (1 if level < lower else -1) / math.sqrt(high - low)
