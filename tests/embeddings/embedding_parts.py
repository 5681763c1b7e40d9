"""Vectors and files that the tests of the embedding library are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from webui.embeddings import formats
from webui.embeddings.embedding import Embedding


def rows(count: int = 2, width: int = 768, seed: int = 0) -> torch.Tensor:
    """Random vectors ``[count, width]``, the same for the same seed."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def embedding(name: str = "cat", **encoders: torch.Tensor) -> Embedding:
    """An embedding with facts of all kinds; two vectors for SD 1.x unless told otherwise."""
    vectors = encoders or {"clip_l": rows()}
    return Embedding(
        name,
        vectors,
        step=500,
        trained_on="plain-model",
        trained_on_hash="6ce0161689",
        inner_name="inner cat",
    )


def put(path: Path, seed: int = 0, width: int = 768, count: int = 2) -> Path:
    """Write a small good file of the kind that the ending asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, formats.Kind] = {
        ".pt": "a1111",
        ".bin": "diffusers",
        ".safetensors": "safetensors",
        ".png": "picture",
        ".webp": "picture",
    }
    key = {1024: "clip_h", 1280: "clip_g"}.get(width, "clip_l")
    made = Embedding(path.stem, {key: rows(count, width, seed)})
    formats.write(made, path, kinds[path.suffix.lower()])
    return path


def until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Wait until something is so; say whether it came to be.

    Less than the watcher waits before it looks at everything, so that no lost event is hidden.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False
