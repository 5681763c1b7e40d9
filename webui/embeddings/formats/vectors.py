"""From tensors of any precision and shape to the vectors of an embedding, or a reason why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy

from webui.embeddings.formats.source import Broken, NotMine
from webui.tensor_files.stored import Array, StoredTensor

MAX_VECTORS = 4096
MAX_FLOATS = 16 << 20
"""Most numbers of one tensor; checked before memory is taken for them."""

ENCODER_OF_WIDTH: Mapping[int, str] = {768: "clip_l", 1024: "clip_h", 1280: "clip_g"}
"""The width of the vectors, not a key's name, decides which text encoder they are for."""


OUTPUT_ROWS = 77
"""Rows that CLIP's text encoder puts out for a prompt of any length."""
OUTPUT_SIZE = 0.3
"""Root mean square of numbers from which on they are no words': those of CLIP's vocabulary have
0.01 to 0.05, what its last layer puts out is normalised to about 1."""


def encoder_of(width: int) -> str:
    """Return the text encoder key for vectors of a width; unknown widths count as clip_l."""
    return ENCODER_OF_WIDTH.get(width, "clip_l")


def is_tensor(value: Any) -> bool:
    """Say whether a value is a tensor of floating point numbers."""
    return isinstance(value, StoredTensor) and value.is_floating


def normalise(tensor: StoredTensor, label: str) -> Array:
    """Return ``[n, width]`` float32 with memory of its own, from a 1-D or 2-D tensor.

    Leading dimensions of 1 are dropped. Raises Broken for other shapes and for sizes that no
    embedding has, before memory is taken for them.
    """
    shape = tensor.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 1:
        shape = (1, *shape)
    if len(shape) != 2 or 0 in shape:
        raise Broken(f"“{label}” has the shape {list(tensor.shape)}; vectors have [number, width].")
    rows, width = shape
    if rows > MAX_VECTORS or rows * width > MAX_FLOATS:
        raise Broken(
            f"“{label}” claims {rows:,} vectors of width {width:,}; "
            f"an embedding has at most {MAX_VECTORS:,}."
        )
    return tensor.read().reshape(shape).astype("<f4")


def one_or_several(tensors: Mapping[str, StoredTensor]) -> list[tuple[str, dict[str, Array]]]:
    """Group named tensors into embeddings: parts of one for different encoders, or several.

    Tensors for different text encoders are parts of one embedding; as soon as two are for the
    same encoder, each is an embedding by itself. A tensor of unknown width (T5 of Flux, say)
    beside known ones is left out. Returns ``(name, vectors)`` pairs in the file's order.
    """
    rows = {name: normalise(tensor, name) for name, tensor in tensors.items()}
    known = {name: t for name, t in rows.items() if t.shape[1] in ENCODER_OF_WIDTH}
    rows = known or rows
    if not rows:
        raise NotMine("it holds no vectors")
    keys = [encoder_of(t.shape[1]) for t in rows.values()]
    if len(set(keys)) < len(keys):
        return [(name, {encoder_of(t.shape[1]): t}) for name, t in rows.items()]
    pairs = zip(keys, rows.values(), strict=True)
    vectors = dict(sorted(pairs, key=lambda pair: pair[1].shape[1]))
    counts = {t.shape[0] for t in vectors.values()}
    if len(counts) > 1:
        raise Broken(
            "Its text encoders have different numbers of vectors ("
            + ", ".join(f"{key}: {t.shape[0]}" for key, t in vectors.items())
            + "), so they cannot stand in the same places of a prompt."
        )
    return [(next(iter(rows)), vectors)]


def joined(tensors: Iterable[StoredTensor]) -> dict[str, Array]:
    """Return the rows of all tensors of one width in one, per text encoder."""
    rows: dict[str, list[Array]] = {}
    for number, tensor in enumerate(tensors, start=1):
        part = normalise(tensor, f"part {number}")
        rows.setdefault(encoder_of(part.shape[1]), []).append(part)
    if any(len({t.shape[1] for t in parts}) > 1 for parts in rows.values()):
        raise Broken("Its parts have vectors of different, unknown widths.")
    return {key: numpy.concatenate(parts) for key, parts in rows.items()}


def is_encoder_output(vectors: Mapping[str, Array]) -> bool:
    """Say whether vectors are a text encoder's output rather than its input."""
    [first, *others] = vectors.values()
    if others or first.shape[0] != OUTPUT_ROWS:
        return False
    return float(numpy.sqrt(numpy.square(first).mean())) > OUTPUT_SIZE


def check_finite(vectors: Mapping[str, Array]) -> None:
    """Raise Broken if a number is NaN or infinite, saying in which vectors."""
    for key, tensor in vectors.items():
        if not numpy.isfinite(tensor).all():
            bad = (~numpy.isfinite(tensor)).any(axis=1).nonzero()[0].tolist()  # rows
            listed = ", ".join(str(row + 1) for row in bad[:8]) + (", …" if len(bad) > 8 else "")
            raise Broken(
                f"{len(bad)} of its {tensor.shape[0]} {key} vectors hold NaN or infinite numbers "
                f"(vector {listed}): its training ran off. Use an earlier step of it."
            )
