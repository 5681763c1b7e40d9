"""What a run has learned at a step: an embedding for each of its names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webui.embeddings.embedding import Embedding

if TYPE_CHECKING:
    from torch import Tensor

ByName = Mapping[str, Mapping[str, "Tensor"]]
"""Vectors ``[n, width]`` by name and text encoder."""


@dataclass(frozen=True, eq=False)
class LearnedStep:
    """What there was at a step; it is drawn with, and installed."""

    step: int
    embeddings: tuple[Embedding, ...]
    """In the order of the run's names."""

    @property
    def vectors(self) -> ByName:
        """The vectors alone."""
        return {embedding.name: embedding.vectors for embedding in self.embeddings}


def learned_step(step: int, vectors: ByName, model: tuple[str, str]) -> LearnedStep:
    """Return what was learned, copied to the CPU; ``model`` is the checkpoint's name and hash."""
    return LearnedStep(
        step,
        tuple(
            Embedding(
                name=name,
                vectors={key: rows.detach().cpu().float().clone() for key, rows in own.items()},
                step=step,
                trained_on=model[0],
                trained_on_hash=model[1],
                inner_name=name,
            )
            for name, own in vectors.items()
        ),
    )


def as_tensors(vectors: ByName) -> dict[str, Tensor]:
    """Return vectors as a file holds them: by text encoder, those of several names with these."""
    alone = len(vectors) == 1
    return {
        key if alone else f"{name}/{key}": rows
        for name, own in vectors.items()
        for key, rows in own.items()
    }


def from_tensors(names: Sequence[str], tensors: Mapping[str, Tensor]) -> ByName:
    """Return the vectors of ``as_tensors``'s answer."""
    if len(names) == 1:
        return {names[0]: tensors}
    found: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for key, rows in tensors.items():
        name, _, encoder = key.rpartition("/")
        found[name][encoder] = rows
    return found
