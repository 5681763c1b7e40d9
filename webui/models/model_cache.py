"""Keep a loaded model in main memory, know its files again, and bring it back to the device."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from webui.errors import AppError
from webui.models.catalog import Checkpoint, separate_vae

if TYPE_CHECKING:
    import torch

    from webui.models.model import Model

Fingerprint = tuple[tuple[str, int, int], ...]
"""Path, size in bytes and date in nanoseconds of each file that a model is read from."""


def fingerprint(checkpoint: Checkpoint) -> Fingerprint:
    """Return what tells whether a checkpoint's files are still as they were."""
    path = checkpoint.path
    files = list(path.rglob("*")) if checkpoint.is_folder else [path, path.with_suffix(".yaml")]
    if vae := separate_vae(checkpoint):
        files.append(vae)
    return tuple(
        (str(file), file.stat().st_size, file.stat().st_mtime_ns)
        for file in sorted(files)
        if file.is_file()
    )


def room_bytes(model: Model) -> int:
    """Return the main memory that keeping a model takes: none if its weights are there already."""
    if model.device.type == "cpu" or model.offloading:
        return 0
    return sum(
        tensor.numel() * tensor.element_size()
        for part in _parts(model)
        for tensor in _tensors(part)
    )


def offload_to_cpu(model: Model) -> Model:
    """Return the model with its parts in main memory; one on a device stays as it is there.

    One whose parts come to the device to compute does so again for whoever still uses it.
    """
    import torch

    if model.offloading:
        model.offloading.move_to_cpu()
        return model
    return model if model.device.type == "cpu" else copied(model, torch.device("cpu"))


def copied(model: Model, device: torch.device) -> Model:
    """Return a copy of a model on a device; whoever uses the model itself is not disturbed."""
    return replace(
        model,
        text_encoders=tuple(
            replace(encoder, model=_copied(encoder.model, device))
            for encoder in model.text_encoders
        ),
        unet=_copied(model.unet, device),
        vae=_copied(model.vae, device),
        device=device,
        compiled=None,
    )


def on_device(model: Model, device: torch.device) -> Model:
    """Move a model that nobody else uses to a device. AppError if it does not fit there."""
    import torch

    if model.offloading:
        return model
    try:
        for part in _parts(model):
            part.to(device)
    except torch.OutOfMemoryError as error:
        raise AppError(
            f"{model.name} does not fit into the memory of {device}. Close other programs that "
            "use it, or end a training run on another model."
        ) from error
    return model if model.device == device else replace(model, device=device)


def release(device: torch.device) -> None:
    """Give the memory of models that are gone back to the device."""
    import torch

    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def _parts(model: Model) -> list[torch.nn.Module]:
    return [*(encoder.model for encoder in model.text_encoders), model.unet, model.vae]


def _tensors(part: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from part.parameters()
    yield from part.buffers()


def _copied(part: Any, device: torch.device) -> Any:
    """Return a copy whose weights were made on ``device`` at once, not first beside the old."""
    import torch

    known: dict[int, object] = {}
    for tensor in _tensors(part):
        moved = tensor.detach().to(device, copy=True)
        if isinstance(tensor, torch.nn.Parameter):
            moved = torch.nn.Parameter(moved, requires_grad=tensor.requires_grad)
        known[id(tensor)] = moved
    return copy.deepcopy(part, known)
