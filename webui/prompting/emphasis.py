"""What the weights of a prompt do to the output of a text encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LEAST_SHARE = 0.01
"""A chunk's mean is restored unless the weights brought it below this share of what it was."""


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
    if kind == "comfy":
        moved = empty + (hidden - empty) * factor
        return torch.where(factor == 1, hidden, moved)
    weighted = hidden * factor
    if kind == "no_norm":
        return weighted
    mean = hidden.mean(dim=(1, 2), keepdim=True)  # [chunks, 1, 1]
    new_mean = weighted.mean(dim=(1, 2), keepdim=True)
    sound = (new_mean.abs() >= LEAST_SHARE * mean.abs()) & (new_mean != 0)
    return weighted * torch.where(sound, mean / new_mean, torch.ones_like(mean))
