"""Token ids and embedding vectors through a text encoder: one path for drawing and training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webui.models.model import Model, TextEncoder
from webui.prompting.chunks import Chunk
from webui.prompting.emphasis import emphasize

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CONTEXT_LENGTH = 77
"""Token positions of one chunk: BOS, 75 of content, EOS."""

_PADDED_WITH_ZERO = {"clip_g", "clip_h"}
"""OpenCLIP's encoders were trained with 0 after EOS, CLIP-L with EOS again."""
_BATCH = 16
"""Chunks that go through a text encoder at once."""


@dataclass(frozen=True)
class Rows:
    """Vectors that take the place of tokens in one sequence of a batch."""

    sequence: int
    """Index into the batch."""
    position: int
    """First of the positions to fill, 1 to 75."""
    vectors: Tensor
    """``[n, width]``; gradients flow into it."""


@dataclass(frozen=True)
class Encoded:
    """What a text encoder makes of a batch of chunks."""

    hidden: Tensor
    """``[batch, 77, width]``, from the layer that the model's UNet was trained on."""
    pooled: Tensor | None
    """``[batch, projection]``, from encoders that have a projection (SDXL's second), else None."""


@dataclass(frozen=True)
class EncodedText:
    """One text, encoded by all text encoders of a model."""

    hidden: Tensor
    """``[1, 77k, width]``, in the precision of the UNet."""
    pooled: Tensor | None
    """``[1, projection]`` of the first chunk, from models whose encoders have a projection."""


def embed_tokens(encoder: TextEncoder, ids: Tensor, rows: Sequence[Rows] = ()) -> Tensor:
    """Look up ``ids [batch, 77] int64`` in the vocabulary and put ``rows`` in their places.

    The vocabulary itself is never changed, so nothing has to be undone.
    Returns ``[batch, 77, width]`` in the encoder's precision.
    """
    table = encoder.model.get_input_embeddings()
    embedded = table(ids)
    if rows:
        embedded = embedded.clone()
        for row in rows:
            end = row.position + row.vectors.shape[0]
            embedded[row.sequence, row.position : end] = row.vectors.to(embedded)
    return embedded


def encode_tokens(
    encoder: TextEncoder, ids: Tensor, rows: Sequence[Rows] = (), extra_skip: int = 0
) -> Encoded:
    """Run chunks of token ids through a text encoder, with embedding vectors in their places.

    ``ids [batch, 77] int64`` hold BOS, content and EOS, and any id where a row will stand.
    ``extra_skip`` leaves out further layers at the end ("clip skip" minus one).
    The final norm follows the last layer used wherever the encoder's family applies it, as
    AUTOMATIC1111 does it.
    """
    clip = getattr(encoder.model, "text_model", encoder.model)
    hidden = clip.embeddings(inputs_embeds=embed_tokens(encoder, ids, rows))
    layers = clip.encoder.layers
    used = max(1, len(layers) - encoder.skipped_layers - extra_skip)
    projection = getattr(encoder.model, "text_projection", None)
    tapped = hidden
    for number, layer in enumerate(layers, start=1):
        if number > used and projection is None:
            break
        hidden = layer(hidden, None, is_causal=True)  # [batch, 77, width]
        if number == used:
            tapped = hidden
    if encoder.final_norm:
        tapped = clip.final_layer_norm(tapped)
    if projection is None:
        return Encoded(tapped, None)
    ends = end_positions(ids, encoder.model.config.eos_token_id)
    last = clip.final_layer_norm(hidden)
    pooled = projection(last[range(len(ids)), ends])  # [batch, projection]
    return Encoded(tapped, pooled)


def end_positions(ids: Tensor, eos_id: int) -> torch.Tensor:
    """Return the position of the first EOS of each sequence, ``[batch, 77] -> [batch]``.

    Configurations written before transformers 4.30 say ``eos_token_id = 2``; EOS is then the
    highest id of the vocabulary.
    """
    if eos_id == 2:
        return ids.argmax(dim=-1)
    return (ids == eos_id).int().argmax(dim=-1)


def encode_chunks(
    model: Model, chunks: Sequence[Chunk], empty: Chunk, emphasis: str, clip_skip: int
) -> EncodedText:
    """Run chunks through all text encoders of a model and apply their weights.

    ``empty`` is the chunk of the empty prompt, ``emphasis`` and ``clip_skip`` are as in
    ``PromptSettings``. The outputs lie side by side along the width, in float32 until weights are
    applied, then in the model's precision. Clip skip acts where a family has no layer of its own,
    as in AUTOMATIC1111: on SD 1.x.
    """
    import torch

    weights = torch.tensor([chunk.weights for chunk in chunks], device=model.device)
    outputs: list[Tensor] = []
    pooled = None
    for encoder in model.text_encoders:
        skip = 0 if encoder.skipped_layers else max(0, clip_skip - 1)
        hidden, first_pooled = _through(encoder, chunks, skip, model.device)
        nothing = None
        if emphasis == "comfy":
            nothing, _ = _through(encoder, [empty], skip, model.device)
        outputs.append(emphasize(hidden, weights, emphasis, nothing))
        pooled = pooled if first_pooled is None else first_pooled
    joined = torch.cat(outputs, dim=-1).flatten(0, 1).unsqueeze(0)  # [1, 77k, width]
    return EncodedText(joined.to(model.dtype), None if pooled is None else pooled.to(model.dtype))


def _through(
    encoder: TextEncoder, chunks: Sequence[Chunk], skip: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Return ``[chunks, 77, width]`` float32 and the first chunk's ``[1, projection]``."""
    import torch

    hidden, pooled = [], None
    for start in range(0, len(chunks), _BATCH):
        batch = chunks[start : start + _BATCH]
        ids = torch.tensor([_ids_for(encoder, chunk) for chunk in batch], device=device)
        rows = [
            Rows(number, slot.position, slot.embedding.vectors[encoder.key])
            for number, chunk in enumerate(batch)
            for slot in chunk.slots
        ]
        encoded = encode_tokens(encoder, ids, rows, skip)
        hidden.append(encoded.hidden.float())
        if start == 0 and encoded.pooled is not None:
            pooled = encoded.pooled[:1].float()
    return torch.cat(hidden), pooled


def _ids_for(encoder: TextEncoder, chunk: Chunk) -> list[int]:
    """Return a chunk's 77 ids with the padding that an encoder was trained with."""
    ids = list(chunk.token_ids)
    if encoder.key in _PADDED_WITH_ZERO:
        after = ids.index(ids[-1]) + 1
        ids[after:] = [0] * (len(ids) - after)
    return ids
