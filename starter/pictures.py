"""A cache of drawn pictures on disk, so that drawing takes no time from training."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial as partial_of
from pathlib import Path

import numpy as np
from tqdm import tqdm

from starter.concepts import EXCLUDED_LOOKS
from starter.drawing import draw
from starter.world import SIDE, Scene, random_scene, training_scene

_CHUNK = 250


def scene_at(seed: int, index: int, everything: bool = False) -> Scene:
    """Return the scene of picture ``index``, the same each time.

    With ``everything``, also what the model must not see in training; for the reader and for tests.
    """
    rng = np.random.default_rng((seed, index))
    return random_scene(rng) if everything else training_scene(rng, EXCLUDED_LOOKS)


def picture_at(seed: int, index: int, everything: bool = False) -> np.ndarray:
    """Return picture ``index``, uint8 ``[256, 256, 3]``."""
    scene = scene_at(seed, index, everything)
    return np.asarray(draw(scene, np.random.default_rng((seed, index, 1))))


def _draw_chunk(seed: int, everything: bool, start: int, stop: int) -> np.ndarray:
    return np.stack([picture_at(seed, index, everything) for index in range(start, stop)])


def open_pictures(
    path: Path,
    seed: int,
    count: int,
    everything: bool = False,
    workers: int | None = None,
) -> np.ndarray:
    """Return drawn pictures, uint8 ``[count, 256, 256, 3]``, memory-mapped; they are drawn at
    first use, by ``workers`` processes or one for each processor."""
    if path.exists():
        pictures = np.load(path, mmap_mode="r")
        if len(pictures) == count:
            return pictures
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npy")
    shape = (count, SIDE, SIDE, 3)
    drawn = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    starts = range(0, count, _CHUNK)
    stops = [min(start + _CHUNK, count) for start in starts]
    draw_chunk = partial_of(_draw_chunk, seed, everything)
    with ProcessPoolExecutor(workers) as pool:
        chunks = zip(starts, stops, pool.map(draw_chunk, starts, stops), strict=True)
        for start, stop, chunk in tqdm(chunks, "drawing", total=len(stops)):
            drawn[start:stop] = chunk
    drawn.flush()
    partial.replace(path)
    return np.load(path, mmap_mode="r")
