"""Which device computes, and in which precision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from webui.devices.processor import faster_in_bf16
from webui.errors import AppError

if TYPE_CHECKING:
    import torch

EXACT_BELOW_BYTES = 500_000_000
"""On processors, models whose files are smaller than this stay in float32: they gain less from
bf16, and are quick enough without it to keep their images exact."""


def choose_device(wish: str = "auto") -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises AppError if the wish cannot be met on this machine.
    """
    import torch

    if wish == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(wish)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise AppError(f"--device {wish} cannot be used on this machine: {error}") from error
    return device


def choose_dtype(
    device: torch.device, wish: str, size_bytes: int, processor_cache: Path
) -> torch.dtype:
    """Return the UNet's precision: as wished, else half where that is faster on the device.

    ``size_bytes`` is the size of the model's files. ``processor_cache`` is as in
    ``faster_in_bf16``, which takes about a second when it is first asked.
    """
    import torch

    named = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if wish != "auto":
        return named[wish]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.float16
    large = device.type == "cpu" and size_bytes >= EXACT_BELOW_BYTES
    return torch.bfloat16 if large and faster_in_bf16(processor_cache) else torch.float32


def allow_tf32(device: torch.device, dtype: torch.dtype) -> None:
    """Let CUDA GPUs compute float32 products in TF32 beside a UNet in half precision.

    Where the UNet's ``dtype`` is float32, as for images that are to be exact, all stays so.
    """
    import torch

    if device.type == "cuda":
        allowed = dtype != torch.float32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
