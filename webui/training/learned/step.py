"""What a run has learned at a step: an embedding for each of its names, and maybe a LoRA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webui.embeddings.embedding import Embedding

if TYPE_CHECKING:
    from torch import Tensor

LORA = "lora_unet_"
"""Begins the name of each weight of a LoRA, as Kohya's scripts have it."""
ByName = Mapping[str, Mapping[str, "Tensor"]]
"""Vectors ``[n, width]`` by name and text encoder."""


@dataclass(frozen=True, eq=False)
class LearnedStep:
    """What there was at a step; it is drawn with, and installed."""

    step: int
    embeddings: tuple[Embedding, ...]
    """In the order of the run's names."""
    lora: Mapping[str, Tensor] = field(default_factory=dict)
    """Weights by their names in files; none where no LoRA was learned beside the vectors."""

    @property
    def vectors(self) -> ByName:
        """The vectors alone."""
        return {embedding.name: embedding.vectors for embedding in self.embeddings}


def learned_step(
    step: int,
    vectors: ByName,
    lora: Mapping[str, Tensor],
    model: tuple[str, str],
    steps: Sequence[int] = (),
) -> LearnedStep:
    """Return what was learned, copied to the CPU; ``model`` is the checkpoint's name and hash.

    ``steps`` are those of each name, where they differ from ``step``.
    """
    return LearnedStep(
        step,
        tuple(
            Embedding(
                name=name,
                vectors={key: rows.detach().cpu().float().clone() for key, rows in own.items()},
                step=own_step,
                trained_on=model[0],
                trained_on_hash=model[1],
                inner_name=name,
            )
            for (name, own), own_step in zip(
                vectors.items(), steps or (step,) * len(vectors), strict=True
            )
        ),
        {name: weights.detach().cpu().float().clone() for name, weights in lora.items()},
    )


def as_tensors(vectors: ByName, lora: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what was learned as a file holds it: vectors by text encoder, those of several names
    with these, and the weights of a LoRA by their names."""
    alone = len(vectors) == 1
    rows = {
        key if alone else f"{name}/{key}": rows
        for name, own in vectors.items()
        for key, rows in own.items()
    }
    return {**rows, **lora}


def from_tensors(
    names: Sequence[str], tensors: Mapping[str, Tensor]
) -> tuple[ByName, dict[str, Tensor]]:
    """Return the vectors and the LoRA of ``as_tensors``'s answer."""
    vectors: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    lora = {}
    for key, each in tensors.items():
        name, _, encoder = key.rpartition("/")
        if key.startswith(LORA):
            lora[key] = each
        else:
            vectors[name or names[0]][encoder] = each
    return vectors, lora
