"""A UNet in half precision for processors: a copy, as pictures are drawn with the original."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.libraries import Attention

if TYPE_CHECKING:
    from webui.libraries import UNet2DConditionModel


def low_precision_copy(unet: UNet2DConditionModel, dtype: torch.dtype) -> UNet2DConditionModel:
    """Return a copy of a UNet whose weights are in ``dtype``, and cannot learn.

    With it a step of the starter model takes three quarters of the time of float32; with autocast,
    which casts frozen weights anew in each step, nine tenths.
    """
    tensors = [*unet.parameters(), *(each for each in unet.buffers() if each.is_floating_point())]
    cast = {id(tensor): _cast(tensor, dtype) for tensor in tensors}
    copied = copy.deepcopy(unet, cast)
    for module in copied.modules():
        if isinstance(module, Attention):
            module.fuse_projections()
    copied.set_attn_processor(FullAttention())  # type: ignore[arg-type]  # takes any callable
    return copied.requires_grad_(False)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    found = tensor.detach().to(dtype)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(found, requires_grad=False)
    return found


class FullAttention:
    """Attention over words or places with fused projections, the product itself in float32.

    On processors the backward pass of PyTorch's attention takes three times as long in bfloat16.
    """

    def __call__(
        self,
        attention: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """Return ``[b, n, width]`` for places ``[b, n, width]`` and words ``[b, k, words' width]``,
        or for the places among themselves; masks are not used in training."""
        if encoder_hidden_states is None:
            projected = attention.to_qkv(hidden_states).chunk(3, dim=-1)
        else:
            words = attention.to_kv(encoder_hidden_states).chunk(2, dim=-1)
            projected = (attention.to_q(hidden_states), *words)
        query, key, value = (
            each.unflatten(-1, (attention.heads, -1)).transpose(1, 2).float() for each in projected
        )  # [b, heads, n or k, width / heads]
        found = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = attention.to_out[0](found.transpose(1, 2).flatten(2).to(hidden_states.dtype))
        return out
