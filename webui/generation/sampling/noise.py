"""Where noise comes from: the generator of NVIDIA's cards, computed anywhere, or torch's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

RNG_SOURCES: Mapping[str, str] = {
    "GPU": "as on an NVIDIA card",
    "CPU": "as torch draws on the CPU",
    "NV": "the same as GPU",
}
"""The sources of noise by AUTOMATIC1111's names, its default first. It draws "GPU" on the card it
has and "NV" as any NVIDIA card would; here both are the latter, on every machine."""
PURE_NOISE = 1000.0
"""Above this sigma nothing of a picture is left: the first level of a zero-SNR model."""
ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
"""Philox 4×32 as Salmon et al. 2011 ("Parallel Random Numbers: As Easy as 1, 2, 3") set it."""
_UNIT = float(np.float32(2.0**-32))
_TURN = float(np.float32(2.3283064e-10 * 6.2831855))
"""CUDA's constants, which make 32 bits a part of 1 and of a turn."""


class Stream(Protocol):
    """Normally distributed numbers, one tensor after the other."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return the next ones, float32 on the CPU."""


class Philox:
    """What CUDA draws with a seed: Philox 4×32-10 and Box and Muller's transform.

    Each number has a counter of its own: how many calls were made before, and its place. The seed
    is the key. Of the four words of a counter CUDA uses two, for one number.
    """

    def __init__(self, seed: int) -> None:
        self._key = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
        self._calls = 0

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return the next numbers, float32 on the CPU."""
        import torch

        count = int(np.prod(shape))
        first, second = self._words(count)
        self._calls += 1
        radius = np.sqrt(-2.0 * np.log(first * _UNIT + _UNIT / 2))
        numbers = radius * np.sin(second * _TURN + _TURN / 2)
        return torch.from_numpy(numbers.astype(np.float32).reshape(tuple(shape)))

    def _words(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first two words of each counter, ``[count]`` uint32."""
        low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
        one, three = (np.full(count, value, np.uint64) for value in (self._calls, 0))
        zero, two = one, np.arange(count, dtype=np.uint64)
        one = three
        for number in range(ROUNDS):
            keys = (
                np.uint64(key + number * step & 0xFFFFFFFF)
                for key, step in zip(self._key, KEY_STEPS, strict=True)
            )
            above, below = zero * np.uint64(MULTIPLIERS[0]), two * np.uint64(MULTIPLIERS[1])
            zero = below >> high ^ one ^ next(keys)
            two = above >> high ^ three ^ next(keys)
            one, three = below & low, above & low
        return zero.astype(np.uint32), one.astype(np.uint32)


class OnCpu:
    """What torch draws on the CPU with a seed."""

    def __init__(self, seed: int) -> None:
        import torch

        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return the next numbers, float32 on the CPU."""
        import torch

        return torch.randn(tuple(shape), generator=self._generator)


def stream(source: str, seed: int) -> Stream:
    """Return the numbers of a seed from one of ``RNG_SOURCES``."""
    return OnCpu(seed) if source == "CPU" else Philox(seed)


@dataclass(frozen=True)
class Seeds:
    """What the noise of one picture is drawn from."""

    seed: int
    subseed: int = 0
    subseed_strength: float = 0.0
    """0 is the noise of ``seed`` alone, 1 that of ``subseed`` alone."""


class PictureNoise:
    """All the noise of one picture, in the order in which AUTOMATIC1111 draws it."""

    def __init__(
        self,
        source: str,
        seeds: Seeds,
        shape: tuple[int, int, int],
        resized_from: tuple[int, int] | None = None,
        delta: int = 0,
    ) -> None:
        """Draw noise of ``shape`` ``(4, h, w)``.

        ``resized_from`` are rows and columns of latents whose noise is put into the middle of the
        first one. ``delta`` is added to the seed for all but the first (ENSD).
        """
        self._source, self._seeds, self._shape = source, seeds, shape
        self._resized_from = resized_from
        self._own = stream(source, seeds.seed)
        self._later = stream(source, seeds.seed + delta) if delta else self._own

    def first(self) -> Tensor:
        """Return the noise that the picture is begun with."""
        seeds = self._seeds
        noise = own = self._own.normal(self._shape)
        if self._resized_from not in (None, self._shape[1:]):
            noise = stream(self._source, seeds.seed).normal((self._shape[0], *self._resized_from))
        if seeds.subseed_strength:
            other = stream(self._source, seeds.subseed).normal(noise.shape)
            noise = slerp(noise, other, seeds.subseed_strength)
        return noise if noise.shape == own.shape else _put_into_middle(noise, own)

    def next(self) -> Tensor:
        """Return the noise of the next step that adds some."""
        return self._later.normal(self._shape)

    def of_seed(self, seed: int) -> Tensor:
        """Return noise of another seed, from the same source."""
        return stream(self._source, seed).normal(self._shape)


def slerp(start: Tensor, end: Tensor, part: float) -> Tensor:
    """Return the noise ``part`` of the way from one to another, ``[4, h, w]``, column by column.

    Each column of a channel turns on the arc between the two (Shoemake 1985, "Animating Rotation
    with Quaternion Curves"), so that the result is as strong as noise is; a straight line would
    be weaker in the middle.
    """
    import torch

    directions = (noise / noise.norm(dim=1, keepdim=True) for noise in (start, end))
    first, second = directions
    angle = (first * second).sum(dim=1, keepdim=True).clamp(-1, 1).acos()  # [4, 1, w]
    sine = angle.sin()
    turned = (start * ((1 - part) * angle).sin() + end * (part * angle).sin()) / sine
    return torch.where(sine > 1e-4, turned, torch.lerp(start, end, part))


def _put_into_middle(inner: Tensor, outer: Tensor) -> Tensor:
    """Return ``outer`` ``[4, h, w]`` with the middle of ``inner`` in its middle."""
    placed = outer.clone()
    into, out_of = [], []
    for there, here in zip(inner.shape[1:], outer.shape[1:], strict=True):
        margin = (here - there) // 2
        length = there if margin >= 0 else there + 2 * margin
        into.append(slice(max(margin, 0), max(margin, 0) + length))
        out_of.append(slice(max(-margin, 0), max(-margin, 0) + length))
    placed[:, into[0], into[1]] = inner[:, out_of[0], out_of[1]]
    return placed
