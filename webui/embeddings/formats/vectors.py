"""From tensors of any precision and shape to the vectors of an embedding, or a reason why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from webui.embeddings.formats.source import Broken, NotMine

if TYPE_CHECKING:
    from torch import Tensor

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
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()


def normalise(tensor: Tensor, label: str) -> Tensor:
    """Return ``[n, width]`` float32 with memory of its own, from a 1-D or 2-D tensor.

    Leading dimensions of 1 are dropped. Raises Broken for other shapes and for sizes that no
    embedding has.
    """
    shape = tuple(tensor.shape)
    while tensor.ndim > 2 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim == 1:
        tensor = tensor[None]
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise Broken(f"“{label}” has the shape {list(shape)}; vectors have [number, width].")
    rows, width = tensor.shape
    if rows > MAX_VECTORS or rows * width > MAX_FLOATS:
        raise Broken(
            f"“{label}” claims {rows:,} vectors of width {width:,}; "
            f"an embedding has at most {MAX_VECTORS:,}."
        )
    import torch

    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()


def one_or_several(tensors: Mapping[str, Tensor]) -> list[tuple[str, dict[str, Tensor]]]:
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


def joined(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the rows of all tensors of one width in one, per text encoder."""
    import torch

    rows: dict[str, list[Tensor]] = {}
    for number, tensor in enumerate(tensors, start=1):
        part = normalise(tensor, f"part {number}")
        rows.setdefault(encoder_of(part.shape[1]), []).append(part)
    if any(len({t.shape[1] for t in parts}) > 1 for parts in rows.values()):
        raise Broken("Its parts have vectors of different, unknown widths.")
    return {key: torch.cat(parts) for key, parts in rows.items()}


def is_encoder_output(vectors: Mapping[str, Tensor]) -> bool:
    """Say whether vectors are a text encoder's output rather than its input."""
    [first, *others] = vectors.values()
    if others or first.shape[0] != OUTPUT_ROWS:
        return False
    return float(first.square().mean().sqrt()) > OUTPUT_SIZE


def check_finite(vectors: Mapping[str, Tensor]) -> None:
    """Raise Broken if a number is NaN or infinite, saying in which vectors."""
    import torch

    for key, tensor in vectors.items():
        bad = (~torch.isfinite(tensor)).any(dim=1).nonzero().flatten().tolist()  # rows
        if bad:
            listed = ", ".join(str(row + 1) for row in bad[:8]) + (", …" if len(bad) > 8 else "")
            raise Broken(
                f"{len(bad)} of its {tensor.shape[0]} {key} vectors hold NaN or infinite numbers "
                f"(vector {listed}): its training ran off. Use an earlier step of it."
            )
