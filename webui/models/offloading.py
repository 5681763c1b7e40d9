"""Networks wait in main memory and come to the GPU while they compute, for small cards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

OFFLOADS = ("none", "model", "sequential")
"""What waits in main memory: nothing, each network as a whole, or each block of a network."""
BLOCK_BYTES = 128 * 2**20
"""A block larger than this is divided into the modules it consists of."""


@dataclass
class _Part:
    """What comes and goes as one: a network, or a block of one."""

    name: str
    module: nn.Module
    stays: nn.Module | None = None
    """The piece of it that never leaves the device."""
    _home: dict[int, torch.Tensor] = field(default_factory=dict)
    """What is on the device, as it lies in main memory."""

    def weights(self) -> list[torch.Tensor]:
        """Return what comes and goes."""
        kept = {id(tensor) for tensor in self.stays.parameters()} if self.stays else set()
        tensors = (*self.module.parameters(), *self.module.buffers())
        return [tensor for tensor in tensors if id(tensor) not in kept]

    def bring(self, device: torch.device) -> None:
        """Put the weights on the device, in place: everyone who knows them finds them there.

        Also inside inference mode the weights stay such that gradients can be taken through them.
        """
        import torch

        with torch.inference_mode(False), torch.no_grad():
            for tensor in self.weights():
                if tensor.device != device:
                    self._home[id(tensor)] = tensor.data
                    tensor.data = tensor.data.to(device)

    def leave(self) -> None:
        """Put the weights back into main memory; nothing is copied unless their type changed."""
        import torch

        with torch.inference_mode(False), torch.no_grad():
            for tensor in self.weights():
                home = self._home.pop(id(tensor), None)
                if home is None or home.dtype != tensor.dtype:
                    home = tensor.data.to("cpu")
                tensor.data = home
        self._home.clear()


class Offloading:
    """Knows which parts of a model are on the device.

    The one that is about to compute comes, the others leave; but while gradients are taken none
    leaves, because the way back needs them all. Whoever computes holds the gate.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._parts: list[_Part] = []
        self._present: set[str] = set()

    @property
    def present(self) -> frozenset[str]:
        """Names of the parts that are on the device: text_encoder_1, unet.down_blocks.0 …"""
        return frozenset(self._present)

    def add(
        self,
        name: str,
        network: nn.Module,
        hooked_modules: Sequence[nn.Module],
        stays: nn.Module | None = None,
    ) -> None:
        """Let ``network`` come whenever one of ``hooked_modules``, modules of it, is called.

        ``stays`` is a module of it that is on the device all the time.
        """
        part = _Part(name, network, stays)
        self._parts.append(part)
        if stays is not None:
            stays.to(self._device)

        def enter(
            _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            self._bring(part)
            return tuple(map(self._here, given)), {key: self._here(named[key]) for key in named}

        for module in hooked_modules:
            module.register_forward_pre_hook(enter, with_kwargs=True)

    def add_blocks(self, name: str, network: nn.Module, stays: nn.Module | None = None) -> None:
        """Let each block of ``network`` come by itself when it is called."""
        for block_name, block in blocks(network, name):
            inside = stays if stays in set(block.modules()) else None
            self.add(block_name, block, [block], inside)

    def move_to_cpu(self) -> None:
        """Send all parts to main memory."""
        for part in self._parts:
            part.leave()
        self._present.clear()

    def _here(self, value: Any) -> Any:
        import torch

        return value.to(self._device) if isinstance(value, torch.Tensor) else value

    def _bring(self, wanted: _Part) -> None:
        import torch

        if not torch.is_grad_enabled():
            for part in self._parts:
                if part is not wanted and part.name in self._present:
                    part.leave()
                    self._present.discard(part.name)
        wanted.bring(self._device)  # also what was added to it since, such as a LoRA
        self._present.add(wanted.name)


def blocks(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the largest modules of at most ``BLOCK_BYTES`` that a network consists of, by name.

    A module with weights of its own beside those of its modules is not divided: it would compute
    with them when none of its modules is called. Lists of modules, which are never called, are.
    """
    from torch import nn

    size = sum(tensor.numel() * tensor.element_size() for tensor in module.parameters())
    own = next(module.parameters(recurse=False), None)
    never_called = isinstance(module, nn.ModuleList | nn.ModuleDict)
    if not size:
        return
    if own is not None or (size <= BLOCK_BYTES and not never_called):
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from blocks(child, f"{name}.{child_name}")
