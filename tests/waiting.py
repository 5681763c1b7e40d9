"""What waits for a device that computes while the program goes on.

The meta device stands for one that computes while the program goes on: its numbers cannot be read
at all. What waits without reading is an ordinary copy to it from main memory, which is counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from webui.models.model import Model

META = torch.device("meta")
WAITING = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select"}


class _Made(TorchFunctionMode):
    """Collects tensors that are made of plain numbers on the device: torch copies them there."""

    def __init__(self, found: list[str]) -> None:
        self._found = found

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in (torch.tensor, torch.as_tensor) and result.device == META:
            self._found.append(f"{function.__name__} on the device")
        return result


class Waits(TorchDispatchMode):
    """Collects what would wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._made = _Made(self.found)

    def __enter__(self) -> Waits:
        self._made.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._made.__exit__(*raised)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        here = [each.device for each in args if isinstance(each, torch.Tensor)]
        if name in WAITING and META in here:
            self.found.append(name)
        result = function(*args, **kwargs)
        if name in ("_to_copy", "copy_", "_copy_from"):
            crossed = {device.type for device in [*here, result.device]} == {"cpu", "meta"}
            if crossed and not (kwargs.get("non_blocking") or args[2:3] == (True,)):
                self.found.append(f"{name} between devices")
        return result


def on_meta(model: Model) -> Model:
    """The same model where nothing can be read."""
    for part in (model.unet, model.vae, *(encoder.model for encoder in model.text_encoders)):
        part.to(META)
    return replace(model, device=META)
