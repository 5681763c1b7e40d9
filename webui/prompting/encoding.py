"""Chunks of tokens and vectors through the text encoders: one path for drawing and training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webui.devices.copies import send, sent
from webui.models.model import Model, TextEncoder
from webui.prompting.chunks import Chunk

if TYPE_CHECKING:
    from torch import Tensor

LEAST_SHARE = 0.01
"""A chunk's mean is restored unless the weights brought it below this share of what it was."""

_PADDED_WITH_ZERO = {"clip_g", "clip_h"}
"""OpenCLIP's encoders were trained with 0 after EOS, CLIP-L with EOS again."""
_BATCH = 16
"""Chunks that go through a text encoder at once."""


@dataclass(frozen=True)
class Encoded:
    """What text encoders make of chunks; gradients flow back into the vectors in them."""

    hidden: Tensor
    """``[chunks, 77, width]`` float32, from the layer that the model's UNet was trained on."""
    pooled: Tensor | None
    """``[chunks, projection]`` float32, from encoders that have a projection (SDXL's second)."""


def encode(
    model: Model, chunks: Sequence[Chunk], emphasis: str = "ignore", clip_skip: int = 1
) -> Encoded:
    """Run chunks through all text encoders of a model; their outputs lie side by side in width.

    ``emphasis`` says how the chunks' weights act and is as in ``PromptSettings``, as is
    ``clip_skip``: it acts where a family has no layer of its own, as in AUTOMATIC1111: on SD 1.x.
    """
    return side_by_side(
        [
            encode_with(encoder, chunks, emphasis, 0 if encoder.skipped_layers else clip_skip - 1)
            for encoder in model.text_encoders
        ]
    )


def side_by_side(encoded: Sequence[Encoded]) -> Encoded:
    """Return what all text encoders of a model made of the same chunks, as its UNet takes it."""
    import torch

    pooled = next((one.pooled for one in reversed(encoded) if one.pooled is not None), None)
    return Encoded(torch.cat([one.hidden for one in encoded], dim=-1), pooled)


def encode_with(
    encoder: TextEncoder, chunks: Sequence[Chunk], emphasis: str = "ignore", extra_skip: int = 0
) -> Encoded:
    """Run chunks through one text encoder, and apply their weights to what comes out.

    ``extra_skip`` leaves out further layers at the end ("clip skip" minus one).
    """
    import torch

    chunks = [chunk.seen_by(encoder.key) for chunk in chunks]
    parts = [
        _through(encoder, chunks[start : start + _BATCH], max(0, extra_skip))
        for start in range(0, len(chunks), _BATCH)
    ]
    hidden = torch.cat([part.hidden for part in parts])
    pooled = [part.pooled for part in parts if part.pooled is not None]
    if emphasis not in ("ignore", "none"):
        weights = torch.tensor([chunk.weights for chunk in chunks], device=hidden.device)
        empty = None
        if emphasis == "comfy":
            empty = _through(encoder, [chunks[0].emptied()], max(0, extra_skip)).hidden
        hidden = emphasize(hidden, weights, emphasis, empty)
    return Encoded(hidden, torch.cat(pooled) if pooled else None)


def _through(encoder: TextEncoder, chunks: Sequence[Chunk], extra_skip: int) -> Encoded:
    """Run one batch of chunks through a text encoder."""
    embedded = embed(encoder, chunks)
    return through_layers(encoder, embedded, ends_of(encoder, chunks), extra_skip)


def ids_of(encoder: TextEncoder, chunks: Sequence[Chunk]) -> Tensor:
    """Return the tokens of chunks as a text encoder was trained on them, ``[chunks, 77]`` int64."""
    zeros = encoder.key in _PADDED_WITH_ZERO
    ids = [chunk.padded(0) if zeros else chunk.token_ids for chunk in chunks]
    return sent(ids, encoder.vocabulary.weight.device)


def ends_of(encoder: TextEncoder, chunks: Sequence[Chunk]) -> Tensor | None:
    """Return where the words of each chunk end, ``[chunks]`` int64, for encoders that project."""
    if getattr(encoder.model, "text_projection", None) is None:
        return None
    return sent([chunk.end for chunk in chunks], encoder.vocabulary.weight.device)


def through_layers(
    encoder: TextEncoder, embedded: Tensor, ends: Tensor | None, extra_skip: int = 0
) -> Encoded:
    """Run ``embedded [chunks, 77, width]`` through a text encoder; ``ends`` as in ``ends_of``.

    The final norm follows the last layer used wherever the encoder's family applies it, as
    AUTOMATIC1111 does it. All of it is one graph of computations on the device.
    """
    import torch

    clip = encoder.clip
    hidden = clip.embeddings(inputs_embeds=embedded)  # [chunks, 77, width]
    layers = clip.encoder.layers
    used = max(1, len(layers) - encoder.skipped_layers - extra_skip)
    tapped = hidden
    for number, layer in enumerate(layers, start=1):
        if number > used and ends is None:
            break
        hidden = layer(hidden, None, is_causal=True)  # [chunks, 77, width]
        if number == used:
            tapped = hidden
    if encoder.final_norm:
        tapped = clip.final_layer_norm(tapped)
    if ends is None:
        return Encoded(tapped.float(), None)
    rows = torch.arange(len(ends), device=hidden.device)
    projection: Any = encoder.model.text_projection
    pooled = projection(clip.final_layer_norm(hidden)[rows, ends])
    return Encoded(tapped.float(), pooled.float())  # pooled [chunks, projection]


def embed(encoder: TextEncoder, chunks: Sequence[Chunk]) -> Tensor:
    """Look up the tokens of chunks in the vocabulary and put the vectors in their places.

    The vocabulary itself is never changed, so nothing has to be undone.
    Returns ``[chunks, 77, width]`` in the encoder's precision.
    """
    embedded: Tensor = encoder.vocabulary(ids_of(encoder, chunks))
    for number, chunk in enumerate(chunks):
        for slot in chunk.slots:
            vectors = slot.embedding.vectors[encoder.key]  # [n, width]
            end = slot.position + vectors.shape[0]
            embedded[number, slot.position : end] = send(vectors, embedded.device).to(embedded)
    return embedded


def emphasize(hidden: Tensor, weights: Tensor, kind: str, empty: Tensor | None = None) -> Tensor:
    """Apply weights to chunks of conditioning.

    ``hidden [chunks, 77, width]``, ``weights [chunks, 77]``, both float32; ``kind`` as in
    ``PromptSettings.emphasis``. "original" multiplies and then scales each chunk back to its own
    mean, as AUTOMATIC1111; "no_norm" only multiplies; "comfy" moves each position on the line from
    ``empty [1, 77, width]``, the encoding of the empty prompt, as ComfyUI.
    """
    import torch

    if kind in ("ignore", "none") or bool((weights == 1).all()):
        return hidden
    factor = weights.unsqueeze(-1)  # [chunks, 77, 1]
    if empty is not None:
        moved = empty + (hidden - empty) * factor
        return torch.where(factor == 1, hidden, moved)
    weighted = hidden * factor
    if kind == "no_norm":
        return weighted
    mean = hidden.mean(dim=(1, 2), keepdim=True)  # [chunks, 1, 1]
    new_mean = weighted.mean(dim=(1, 2), keepdim=True)
    sound = (new_mean.abs() >= LEAST_SHARE * mean.abs()) & (new_mean != 0)
    return weighted * torch.where(sound, mean / new_mean, torch.ones_like(mean))


def size_conditioning(
    model: Model, pooled: Tensor | None, height: int, width: int
) -> dict[str, Tensor] | None:
    """Return SDXL's second conditioning: pooled texts and the size of what is drawn, in pixels.

    ``pooled [batch, projection]``; None without it, for models that take none.
    """
    if pooled is None:
        return None
    ids = size_ids(model, len(pooled), height, width)
    return {"text_embeds": pooled.to(model.dtype), "time_ids": ids}


def size_ids(model: Model, count: int, height: int, width: int) -> Tensor:
    """Return the six numbers that tell SDXL a size in pixels, ``[count, 6]``: the original size,
    the crop's corner and the target size (SDXL, arXiv 2307.01952)."""
    numbers = (height, width, 0, 0, height, width)
    return sent(numbers, model.device, model.dtype).repeat(count, 1)
