"""Numbers on their way to a device, without waiting for what it still computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; one from main memory is copied when the device comes to it.

    An ordinary copy of pageable memory first waits until all that was queued has been computed.
    """
    if tensor.device == device or tensor.device.type != "cpu":
        return tensor.to(device)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def sent(
    numbers: Sequence[int] | Sequence[Sequence[int]] | Sequence[float],
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return plain numbers as a tensor on a device, copied as ``send`` does."""
    import torch

    return send(torch.tensor(numbers, dtype=dtype), device)
