"""How healthy an embedding's vectors look beside the words of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webui.errors import AppError

if TYPE_CHECKING:
    from torch import Tensor

LONG = 3.0
"""From this many times the usual length on, vectors tend to drown the rest of the prompt."""
SHORT = 0.2
"""Below this part of the usual length, vectors hardly say anything."""
SAME = 0.95
"""From this cosine on, a vector is practically a word."""


@dataclass(frozen=True)
class VectorHealth:
    """One vector beside the vocabulary."""

    norm: float
    """Euclidean length; NaN if numbers are."""
    relative_norm: float
    """Length divided by the median length of the vocabulary's vectors; usually 0.5 to 2."""
    finite: bool
    nearest: tuple[tuple[str, float], ...]
    """The most similar words with their cosines, -1 to 1, best first."""


@dataclass(frozen=True)
class Health:
    """All vectors of an embedding for one text encoder."""

    vectors: tuple[VectorHealth, ...]
    vocabulary_norm: float
    """Median length of the vocabulary's vectors."""
    remarks: tuple[str, ...]
    """What is out of the ordinary, in sentences; empty if nothing is."""


def examine(
    vectors: Tensor, vocabulary: Tensor, decode: Callable[[int], str], count: int = 5
) -> Health:
    """Compare ``vectors [n, width]`` with ``vocabulary [words, width]``.

    ``decode`` gives the text of a row of the vocabulary; ``count`` words are named per vector.
    Raises AppError if the widths differ.
    """
    if vectors.shape[1] != vocabulary.shape[1]:
        raise AppError(
            f"The vectors are {vectors.shape[1]} wide and the model's words "
            f"{vocabulary.shape[1]}: they cannot be compared. Load a model it was made for."
        )
    import torch

    with torch.no_grad():
        words = vocabulary.detach().float()
        rows = vectors.detach().to(words)
        lengths = words.norm(dim=1)  # [words]
        usual = float(lengths.median()) or 1.0
        norms = rows.norm(dim=1)  # [n]
        cosines = (
            torch.nn.functional.normalize(rows.nan_to_num(), dim=1)
            @ (words / lengths.clamp_min(1e-12)[:, None]).T
        )  # [n, words]
        best = cosines.topk(min(count, len(words)), dim=1)
    found = tuple(
        VectorHealth(
            norm=float(norm),
            relative_norm=float(norm) / usual,
            finite=bool(torch.isfinite(row).all()),
            nearest=tuple(
                (decode(int(word)), round(float(cosine), 4))
                for word, cosine in zip(indices, values, strict=True)
            ),
        )
        for row, norm, indices, values in zip(rows, norms, best.indices, best.values, strict=True)
    )
    return Health(found, usual, tuple(_remarks(found)))


def _remarks(vectors: tuple[VectorHealth, ...]) -> list[str]:
    """Say what is out of the ordinary, with what to do about it."""
    kinds = (
        (
            lambda v: not v.finite,
            "hold NaN or infinite numbers and cannot be used. Take an earlier step.",
        ),
        (
            lambda v: v.finite and v.relative_norm > LONG,
            f"are more than {LONG:g} times as long as a word usually is: the embedding may be "
            "overtrained. A lower weight or an earlier step may do better.",
        ),
        (
            lambda v: v.finite and v.relative_norm < SHORT,
            f"are shorter than {SHORT:g} of a word's usual length and hardly say anything.",
        ),
        (
            lambda v: v.finite and v.nearest and v.nearest[0][1] >= SAME,
            "are practically a word of the vocabulary: they have hardly been trained.",
        ),
    )
    remarks = []
    for is_so, text in kinds:
        numbers = [str(number) for number, v in enumerate(vectors, start=1) if is_so(v)]
        if numbers:
            listed = ", ".join(numbers[:8]) + (", …" if len(numbers) > 8 else "")
            remarks.append(f"{len(numbers)} of {len(vectors)} vectors ({listed}) {text}")
    return remarks
