"""Ways in which a picture can be badly drawn, each from hardly visible to plain."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.nn import functional

Fault = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""Spoils a picture, float32 ``[h, w, 3]`` in 0..255, as strongly as 0..1 says."""


def spoil(
    picture: np.ndarray, fault: Fault, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a picture, uint8 ``[h, w, 3]``, with a fault of a strength from 0 to 1."""
    spoilt = fault(picture.astype(np.float32), strength, rng)
    return np.clip(spoilt, 0, 255).round().astype(np.uint8)


def _soft(picture: np.ndarray, radius_px: float) -> np.ndarray:
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius_px)), np.float32)


def _clouds(
    shape: tuple[int, ...], cell_px: float, channels: int, rng: np.random.Generator
) -> np.ndarray:
    """Return smooth noise ``[h, w, channels]`` in -1..1, its hills about ``cell_px`` apart."""
    height, width = shape[:2]
    cells = (round(width / cell_px) + 2, round(height / cell_px) + 2)
    layers = [
        Image.fromarray(rng.uniform(-1, 1, cells[::-1]).astype(np.float32)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for _ in range(channels)
    ]
    return np.stack([np.asarray(layer) for layer in layers], axis=-1)


def _blurred(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return _soft(picture, 0.5 + 4.5 * strength)


def _noisy(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return picture + rng.normal(0, 4 + 40 * strength, picture.shape)


def _washed_out(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    flat, share = rng.uniform(40, 255), 0.08 + 0.6 * strength
    return picture * (1 - share) + flat * share


def _overdone(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    middle = picture.mean(axis=(0, 1))
    return middle + (picture - middle) * (1.12 + 1.1 * strength)


def _oversharpened(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return picture + (0.5 + 4 * strength) * (picture - _soft(picture, rng.uniform(1, 2.5)))


def _wavy(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Outlines are ragged where the waves are short, and warped where they are long."""
    height, width = picture.shape[:2]
    moved = (1 + 7 * strength) * _clouds(picture.shape, rng.uniform(8, 36), 2, rng)
    rows, columns = np.mgrid[:height, :width] + 0.5
    places = np.stack([columns / width, rows / height], axis=-1) * 2 - 1
    places += moved * 2 / np.array([width, height])
    layers = torch.from_numpy(picture).permute(2, 0, 1)[None]
    grid = torch.from_numpy(places.astype(np.float32))[None]
    bent = functional.grid_sample(layers, grid, padding_mode="border", align_corners=False)
    return bent[0].permute(1, 2, 0).numpy()


def _mottled(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return picture + (8 + 60 * strength) * _clouds(picture.shape, rng.uniform(6, 28), 3, rng)


def _smeared(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Half of the picture, here and there, is out of focus."""
    here = np.clip(4 * _clouds(picture.shape, rng.uniform(24, 60), 1, rng) + 0.5, 0, 1)
    return picture * (1 - here) + _soft(picture, 1.5 + 6 * strength) * here


def _blocky(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """As JPEG leaves it at a low quality."""
    file = BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(file, "JPEG", quality=round(32 - 29 * strength))
    return np.asarray(Image.open(file), np.float32)


def _doubled(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Everything is there a second time, a little aside."""
    angle, way = rng.uniform(0, 2 * np.pi), 3 + 10 * strength
    places = (round(way * np.sin(angle)), round(way * np.cos(angle)))
    rows, columns = (
        np.clip(np.arange(length) + place, 0, length - 1)
        for length, place in zip(picture.shape[:2], places, strict=True)
    )
    return 0.6 * picture + 0.4 * picture[rows][:, columns]


def _broken(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Pieces of the picture are out of their places, and patterns with them."""
    broken, (height, width) = picture.copy(), picture.shape[:2]
    for _ in range(round(4 + 12 * strength)):
        side, reach = int(rng.integers(16, 40)), round(4 + 14 * strength)
        top, left = rng.integers(height - side), rng.integers(width - side)
        from_top, from_left = (
            int(np.clip(at + rng.integers(-reach, reach + 1), 0, length - side))
            for at, length in ((top, height), (left, width))
        )
        piece = picture[from_top : from_top + side, from_left : from_left + side]
        broken[top : top + side, left : left + side] = piece
    return broken


def _hazy(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """At full strength as the world's own hazy pictures."""
    share = 0.1 + 0.5 * strength
    return _soft(picture, 1 + 4 * strength) * (1 - share) + 165 * share


LEARNED: dict[str, Fault] = {
    "blurred": _blurred,
    "noisy": _noisy,
    "washed out": _washed_out,
    "overdone": _overdone,
    "oversharpened": _oversharpened,
    "wavy": _wavy,
    "mottled": _mottled,
    "smeared": _smeared,
}
"""What the critic learns from."""
HELD_BACK: dict[str, Fault] = {
    "hazy": _hazy,
    "blocky": _blocky,
    "doubled": _doubled,
    "broken": _broken,
}
"""What it has never seen, and should know all the same."""
