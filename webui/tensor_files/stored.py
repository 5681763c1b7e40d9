"""A tensor as it lies in a file: its header's claims, and its numbers once they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy

Read = Callable[[int, int], bytes]
"""Return so many bytes from a place in a file; raises where there are fewer."""
Array = numpy.ndarray[Any, numpy.dtype[Any]]

_PLAIN = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_SMALL = {"BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1"}
"""Floating point numbers that numpy does not know, and what they are read as."""
ITEM_BYTES = {name: numpy.dtype(code).itemsize for name, code in (_PLAIN | _SMALL).items()}
"""Bytes of a number by the name of its type, as safetensors writes it."""
MOST_SIDES = 8


class Damaged(Exception):
    """A file is no whole file of its kind, or claims what cannot be."""


@dataclass(eq=False)
class Storage:
    """Bytes of a file that tensors share; where they lie may be known only later."""

    size_bytes: int
    read: Read
    start: int = 0


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """One tensor in a file; nothing of it is read before ``read``."""

    dtype: str
    """As safetensors writes it: F32, F16, BF16, I64, …; others are never read."""
    shape: tuple[int, ...]
    storage: Storage
    offset: int = 0
    """Where it begins in its storage, in numbers."""
    strides: tuple[int, ...] | None = None
    """From one item to the next on each side, in numbers; None where they lie in order."""

    @property
    def count(self) -> int:
        """How many numbers it has; those of a tensor of few sides may be more than are stored."""
        return math.prod(self.shape)

    @property
    def is_floating(self) -> bool:
        """Whether it holds floating point numbers of a type that can be read."""
        return self.dtype in _SMALL or self.dtype in ("F64", "F32", "F16")

    def span(self) -> tuple[int, int]:
        """Return the first byte of it in its file and how many bytes it spans.

        Raises Damaged where it would reach beyond its storage, or its type is not known.
        """
        item = ITEM_BYTES.get(self.dtype)
        strides = self.strides if self.strides is not None else contiguous(self.shape)
        if item is None or len(self.shape) > MOST_SIDES or len(strides) != len(self.shape):
            raise Damaged
        if min((self.offset, *self.shape, *strides)) < 0:
            raise Damaged
        last = sum((side - 1) * stride for side, stride in zip(self.shape, strides, strict=True))
        numbers = 0 if 0 in self.shape else last + 1
        if (self.offset + numbers) * item > self.storage.size_bytes:
            raise Damaged
        return self.storage.start + self.offset * item, numbers * item

    def read(self) -> Array:
        """Return its numbers; the small types of floating point numbers as float32.

        Memory is taken for as many as its shape says, so look at that first. Raises Damaged, and
        whatever reading the file raises.
        """
        start, size_bytes = self.span()
        found = numpy.frombuffer(
            self.storage.read(start, size_bytes), (_PLAIN | _SMALL)[self.dtype]
        )
        if self.strides is not None and self.strides != contiguous(self.shape):
            steps = tuple(stride * found.itemsize for stride in self.strides)
            found = numpy.lib.stride_tricks.as_strided(found, self.shape, steps, writeable=False)
        return _widened(found.reshape(self.shape), self.dtype)


def stored(array: Array) -> StoredTensor:
    """Return float32 numbers in memory as a tensor like those in files."""
    data = numpy.ascontiguousarray(array, "<f4").tobytes()
    storage = Storage(len(data), lambda start, size: data[start : start + size])
    return StoredTensor("F32", array.shape, storage)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a tensor whose numbers lie in order."""
    strides = [1]
    for side in reversed(shape[1:]):
        strides.append(strides[-1] * side)
    return tuple(reversed(strides[: len(shape)]))


def _widened(found: Array, dtype: str) -> Array:
    if dtype == "BF16":
        return (found.astype("<u4") << 16).view("<f4")
    if dtype == "F8_E5M2":
        return (found.astype("<u2") << 8).view("<f2").astype("<f4")
    return _e4m3()[found] if dtype == "F8_E4M3" else found


@cache
def _e4m3() -> Array:
    """Return the value of each byte as a number of 4 bits of exponent and 3 of mantissa.

    There are no infinities; all ones are NaN (Micikevicius et al. 2022, "FP8 Formats").
    """
    codes = numpy.arange(256)
    exponent, mantissa = codes >> 3 & 15, codes & 7
    values = numpy.where(exponent > 0, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0**-9)
    values[codes & 127 == 127] = numpy.nan
    return numpy.where(codes < 128, values, -values).astype("<f4")
