"""An embedding: a few vectors that stand in a prompt like the tokens of a word."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from webui.tensor_files.stored import Array

if TYPE_CHECKING:
    from torch import Tensor

FIRST_ENCODER = "first encoder"
"""Kind of an embedding for SDXL that has vectors for the first of its text encoders only."""
OUTPUT = "encoder output"
"""Kind of an embedding whose 77 rows a text encoder has put out: a whole negative prompt."""
CACHED_BYTES = 64 << 20
"""Most memory for vectors that have been read; an SDXL embedding of 8 vectors takes 64 KiB."""


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

    kind: str = ""
    """FIRST_ENCODER, OUTPUT, or "" for vectors that stand among the words of a prompt."""
    initializer: str | None = None
    """The words that training began with, where the file says so."""
    known_hash: str | None = None
    """The hash of just these vectors, where it was taken when they were read."""

    @cached_property
    def content_hash(self) -> str:
        """The same whatever the container, so that a converted file keeps it."""
        return self.known_hash or hash_vectors(self.vectors)

    def __len__(self) -> int:
        """How many token positions it takes in a prompt."""
        return next(iter(self.vectors.values())).shape[0]

    @property
    def widths(self) -> dict[str, int]:
        """Width of its vectors per text encoder, e.g. ``{"clip_l": 768, "clip_g": 1280}``."""
        return {key: tensor.shape[1] for key, tensor in self.vectors.items()}

    @property
    def size_bytes(self) -> int:
        """Memory that its vectors take."""
        return sum(tensor.numel() * 4 for tensor in self.vectors.values())

    def beside(self, other: Embedding) -> Embedding:
        """Return this embedding with another's vectors too, for a second text encoder."""
        vectors = {**self.vectors, **other.vectors}
        return replace(self, vectors=vectors, kind="", known_hash=None)


class EmbeddingCache:
    """The embeddings read last, each by its file and name; safe from any thread."""

    def __init__(self, most_bytes: int = CACHED_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, str], Embedding] = OrderedDict()
        self._bytes = 0

    def get(self, path: Path, name: str, content_hash: str) -> Embedding | None:
        """Return a file's embedding if it is kept with just this content."""
        with self._lock:
            found = self._kept.get((path, name))
            if found is None or found.content_hash != content_hash:
                return None
            self._kept.move_to_end((path, name))
            return found

    def put(self, path: Path, name: str, embedding: Embedding) -> None:
        """Keep an embedding in place of an earlier one; those not used for longest go."""
        with self._lock:
            self._drop((path, name))
            self._kept[path, name] = embedding
            self._bytes += embedding.size_bytes
            while self._bytes > self._most_bytes and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[Path, str]) -> None:
        if dropped := self._kept.pop(key, None):
            self._bytes -= dropped.size_bytes


def hash_vectors(vectors: Mapping[str, Tensor]) -> str:
    """Return 12 hex digits that depend on the vectors' values alone, not on their container."""
    return hash_arrays(
        {key: tensor.detach().to("cpu").float().numpy() for key, tensor in vectors.items()}
    )


def hash_arrays(vectors: Mapping[str, Array]) -> str:
    """As ``hash_vectors``, of float32 arrays ``[n, width]``."""
    digest = hashlib.sha256()
    for key in sorted(vectors):
        digest.update(f"{key}{tuple(vectors[key].shape)}".encode())
        digest.update(vectors[key].tobytes())
    return digest.hexdigest()[:12]
