"""Data in the pixels of a picture, in the way of A1111's picture embeddings.

Left and right of the picture stand two strips, each parted from it by one black column. The low
four bits of the left strip's pixels hold the low halves of the data's bytes, those of the right
strip the high halves, both mixed with a fixed sequence of numbers; the data is zlib-packed. The
upper four bits are decoration.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy
from PIL import Image

from webui.embeddings.formats.source import Broken

if TYPE_CHECKING:
    from torch import Tensor

_MULTIPLIER, _INCREMENT, _MODULUS = 1664525, 1013904223, 2**32
_ZLIB_MARK = 0x78


def extract(pixels: numpy.ndarray, max_bytes: int) -> bytes | None:
    """Return the data in ``pixels [h, w, 3] uint8``, or None if there is none.

    Raises Broken if it would unpack to more than ``max_bytes`` or is damaged.
    """
    strips = _strips(pixels)
    if strips is None:
        return None
    low, high = strips
    first = [(int(strip[0]) ^ int(_sequence(1)[0])) & 0x0F for strip in strips]
    if first[1] << 4 | first[0] != _ZLIB_MARK:
        return None
    low, high = ((strip ^ _sequence(len(strip))) & 0x0F for strip in (low, high))
    packed = (high << 4 | low).astype(numpy.uint8).tobytes()
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, max_bytes)
    except zlib.error:
        return None
    if unpacker.unconsumed_tail:
        raise Broken("The data in its pixels would unpack to more than an embedding can need.")
    if not unpacker.eof:
        raise Broken("It is an image with an embedding inside, but the data is damaged.")
    return data


def insert(image: Image.Image, data: bytes) -> Image.Image:
    """Return ``image`` (RGB) with ``data`` in two strips at its sides."""
    packed = numpy.frombuffer(zlib.compress(data, 9), numpy.uint8)
    height = image.height
    columns = -(-len(packed) // (3 * height))
    padded = numpy.zeros(columns * height * 3, numpy.uint8)
    padded[: len(packed)] = packed
    mixed = _sequence(len(padded)) & 0x0F
    decoration = _decoration(height, columns)
    strips = [
        ((half ^ mixed) | decoration.reshape(-1)).reshape(height, columns, 3)
        for half in (padded & 0x0F, padded >> 4)
    ]
    black = numpy.zeros((height, 1, 3), numpy.uint8)
    middle = numpy.asarray(image.convert("RGB"))
    return Image.fromarray(numpy.hstack([strips[0], black, middle, black, strips[1]]))


def pattern(vectors: Tensor) -> Image.Image:
    """Draw ``vectors [n, width]`` as a 512 by 512 picture of soft coloured squares."""
    numbers = vectors.detach().cpu().float().nan_to_num().numpy().reshape(-1)
    scale = float(numpy.abs(numbers).max()) or 1.0
    grid = numpy.resize(numbers / scale * 100 + 128, (8, 8, 3)).astype(numpy.uint8)
    return Image.fromarray(grid).resize((512, 512), Image.Resampling.BICUBIC)


def _strips(pixels: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray] | None:
    """Return the low bits of the left and the right strip, flat, or None if they are missing."""
    bright = pixels.min(axis=2) > 0
    rows, columns = bright.any(axis=1).nonzero()[0], bright.any(axis=0).nonzero()[0]
    if not len(rows):
        return None
    cut = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & 0x0F
    black = (cut.sum(axis=(0, 2)) == 0).nonzero()[0]
    if len(black) < 2:
        return None
    low, high = cut[:, : black[0]].reshape(-1), cut[:, black[-1] + 1 :].reshape(-1)
    return (low, high) if len(low) == len(high) and len(low) else None


def _sequence(count: int) -> numpy.ndarray:
    """Return the first ``count`` numbers of the fixed sequence the data is mixed with, uint8.

    ``x[k+1] = (1664525 x[k] + 1013904223) mod 2^32`` from 0, each taken mod 255; made by doubling:
    a jump over n steps is again a multiplication and an addition.
    """
    mask = numpy.uint64(_MODULUS - 1)
    numbers = numpy.array([_INCREMENT], numpy.uint64)
    multiplier, increment = _MULTIPLIER, _INCREMENT
    while len(numbers) < count:
        ahead = (numbers * numpy.uint64(multiplier) + numpy.uint64(increment)) & mask
        numbers = numpy.concatenate([numbers, ahead])
        increment = (multiplier * increment + increment) % _MODULUS
        multiplier = multiplier * multiplier % _MODULUS
    mixed: numpy.ndarray = numbers[:count] % numpy.uint64(255)
    return mixed.astype(numpy.uint8)


def _decoration(height: int, columns: int) -> numpy.ndarray:
    """Return the strips' upper bits ``[height, columns, 3]``: slanted bands, nowhere black."""
    y, x = numpy.mgrid[0:height, 0:columns]
    band = (4 + (x + y) // 8 % 4).astype(numpy.uint8) << 4
    return numpy.repeat(band[:, :, None], 3, axis=2)
