"""Networks wait in main memory and come to the GPU while they compute, for small cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from webui.models.model import Model


@dataclass
class _Part:
    """One network, and the piece of it that never leaves the device."""

    name: str
    network: nn.Module
    stays: nn.Module | None = None

    def weights(self) -> list[torch.Tensor]:
        """Return what comes and goes."""
        kept = {id(tensor) for tensor in self.stays.parameters()} if self.stays else set()
        tensors = (*self.network.parameters(), *self.network.buffers())
        return [tensor for tensor in tensors if id(tensor) not in kept]

    def move(self, device: torch.device) -> None:
        """Put the weights on a device, in place, so that everyone who knows them finds them there.

        Also inside inference mode the weights stay such that gradients can be taken through them.
        """
        import torch

        with torch.inference_mode(False), torch.no_grad():
            for tensor in self.weights():
                if tensor.device != device:
                    tensor.data = tensor.data.to(device)


class Offloading:
    """Knows which networks of a model are on the device.

    The one that is about to compute comes, the others leave; but while gradients are taken none
    leaves, because the way back needs them all. Whoever computes holds the gate.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._parts: list[_Part] = []
        self._present: set[str] = set()

    @property
    def present(self) -> frozenset[str]:
        """Names of the networks that are on the device: text_encoder_1 …, unet, vae."""
        return frozenset(self._present)

    def add(
        self,
        name: str,
        network: nn.Module,
        hooked_modules: Sequence[nn.Module],
        stays: nn.Module | None,
    ) -> None:
        """Let ``network`` come whenever one of ``hooked_modules``, modules of it, is called.

        ``stays`` is a module of it that is on the device all the time.
        """
        part = _Part(name, network, stays)
        self._parts.append(part)
        if stays is not None:
            stays.to(self._device)

        def enter(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            import torch

            self._bring(part)
            return tuple(
                value.to(self._device) if isinstance(value, torch.Tensor) else value
                for value in given
            )

        for door in hooked_modules:
            door.register_forward_pre_hook(enter)

    def move_to_cpu(self) -> None:
        """Send all networks to main memory."""
        import torch

        for part in self._parts:
            part.move(torch.device("cpu"))
        self._present.clear()

    def _bring(self, wanted: _Part) -> None:
        import torch

        if not torch.is_grad_enabled():
            for part in self._parts:
                if part is not wanted and part.name in self._present:
                    part.move(torch.device("cpu"))
                    self._present.discard(part.name)
        wanted.move(self._device)  # also what was added to it since, such as a LoRA
        self._present.add(wanted.name)


def offloaded(model: Model, device: torch.device) -> Model:
    """Arrange for the networks of a model in main memory to compute on ``device``.

    The vocabularies of the text encoders are there all the time: they are looked up by all sorts
    of callers, and small.
    """
    offloading = Offloading(device)
    for number, encoder in enumerate(model.text_encoders, start=1):
        clip = getattr(encoder.model, "text_model", encoder.model)
        table = encoder.model.get_input_embeddings()
        offloading.add(f"text_encoder_{number}", encoder.model, [clip.embeddings], table)
    offloading.add("unet", model.unet, [model.unet], None)
    vae = model.vae
    hooked_modules = [vae.encoder, vae.decoder, vae.quant_conv, vae.post_quant_conv]
    offloading.add("vae", vae, [door for door in hooked_modules if door is not None], None)
    return replace(model, device=device, offloading=offloading)
