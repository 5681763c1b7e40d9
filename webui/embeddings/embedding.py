"""An embedding: a few vectors that stand in a prompt like the tokens of a word."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Embedding:
    """The vectors of one embedding, and what its file says about them."""

    name: str
    """What is written in the prompt: the file name without its extension."""
    vectors: Mapping[str, Tensor]
    """Per text encoder (clip_l, clip_h, clip_g), float32 ``[n, width]`` on the CPU; the same n."""
    step: int | None = None
    """Training steps, where the file says so."""
    trained_on: str | None = None
    """Name of the checkpoint it was trained on, where the file says so."""
    trained_on_hash: str | None = None
    """Short hash of that checkpoint, where the file says so."""
    inner_name: str | None = None
    """The name inside the file; shown, never used as the trigger."""
    source: Path | None = None
    """The file it came from; None while it is being trained."""

    @cached_property
    def content_hash(self) -> str:
        """The same whatever the container, so that a converted file keeps it."""
        return hash_vectors(self.vectors)

    def __len__(self) -> int:
        """How many token positions it takes in a prompt."""
        return next(iter(self.vectors.values())).shape[0]

    @property
    def widths(self) -> dict[str, int]:
        """Width of its vectors per text encoder, e.g. ``{"clip_l": 768, "clip_g": 1280}``."""
        return {key: tensor.shape[1] for key, tensor in self.vectors.items()}


def hash_vectors(vectors: Mapping[str, Tensor]) -> str:
    """Return 12 hex digits that depend on the vectors' values alone, not on their container."""
    digest = hashlib.sha256()
    for key in sorted(vectors):
        tensor = vectors[key].detach().to("cpu").float().contiguous()
        digest.update(f"{key}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:12]
