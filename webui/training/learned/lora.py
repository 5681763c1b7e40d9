"""A LoRA learned beside the vectors (pivotal tuning): small changes of the UNet's attention.

Its weights are kept by the names that Kohya's scripts give them in files (LoRA: arXiv 2106.09685;
tuned after an embedding: arXiv 2106.05744, 2212.04488), so that other programs read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.embeddings.formats import safetensors_file
from webui.errors import AppError
from webui.libraries import Attention
from webui.models.weights_file import open_weights
from webui.training.denoising import generator_for
from webui.training.learned.step import LORA

if TYPE_CHECKING:
    from webui.embeddings.embedding import Embedding
    from webui.libraries import UNet2DConditionModel

Lora = Mapping[str, Tensor]
"""Weights by their names in files: ``<layer>.lora_down.weight [rank, in]`` and ``….lora_up.weight
[out, rank]``, float32; empty where there is none."""
LAYERS = {"attention": ("attn1", "attn2"), "words": ("attn2",)}
"""Endings of the names of the attention that is changed."""
BASES = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}
"""What Kohya's scripts call a family in the notes of a file."""
_DOWN, _UP, _ALPHA = "lora_down.weight", "lora_up.weight", "alpha"


@dataclass(frozen=True)
class _Place:
    """A projection of the UNet, and the layers that it computes side by side in its output."""

    module: nn.Module
    layers: tuple[str, ...]
    width: int
    """Of each layer's output."""


def _places(unet: UNet2DConditionModel, fused: bool) -> Iterator[tuple[str, _Place]]:
    """Yield the projections of all attention with its name; with ``fused`` as a UNet computes them
    that has several of them in one."""
    for name, attention in unet.named_modules():
        if not isinstance(attention, Attention):
            continue
        layer = f"{LORA}{name.replace('.', '_')}"
        parts: dict[Any, tuple[str, ...]] = {
            attention.to_q: ("to_q",), attention.to_k: ("to_k",), attention.to_v: ("to_v",),
        }  # fmt: skip
        if fused and attention.fused_projections:
            parts = (
                {attention.to_q: ("to_q",), attention.to_kv: ("to_k", "to_v")}
                if attention.is_cross_attention
                else {attention.to_qkv: ("to_q", "to_k", "to_v")}
            )
        parts[attention.to_out[0]] = ("to_out_0",)
        for module, endings in parts.items():
            width = module.out_features // len(endings)
            yield name, _Place(module, tuple(f"{layer}_{each}" for each in endings), width)


def new_lora(
    unet: UNet2DConditionModel, rank: int, layers: str, seed: int, device: torch.device
) -> dict[str, Tensor]:
    """Return a LoRA that changes nothing yet, for the layers that a key of ``LAYERS`` names."""
    made: dict[str, Tensor] = {}
    for name, place in _places(unet, fused=False):
        if not name.endswith(LAYERS[layers]):
            continue
        (layer,), inner = place.layers, int(place.module.in_features)  # type: ignore[arg-type]
        draw = torch.rand(rank, inner, generator=generator_for(seed, layer))
        made[f"{layer}.{_DOWN}"] = ((2 * draw - 1) / inner**0.5).to(device)
        made[f"{layer}.{_UP}"] = torch.zeros(place.width, rank, device=device)
    return made


def applied_lora(unet: UNet2DConditionModel, lora: Lora) -> ExitStack:
    """Have a UNet compute with a LoRA until the end of a ``with`` block; its own weights stay.

    The weights are those that ``lora`` holds when the UNet computes. Gradients flow into them.
    """
    hooks = ExitStack()
    for _, place in _places(unet, fused=True) if lora else ():
        if any(f"{layer}.{_UP}" in lora for layer in place.layers):
            handle = place.module.register_forward_hook(_adding(lora, place))
            hooks.callback(handle.remove)
    return hooks


def _adding(lora: Lora, place: _Place) -> Any:
    def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (given,) = inputs  # [b, n, in]
        parts = [
            functional.linear(
                functional.linear(given, lora[f"{layer}.{_DOWN}"].to(given)),
                lora[f"{layer}.{_UP}"].to(given),
            )
            if f"{layer}.{_UP}" in lora
            else given.new_zeros(*given.shape[:-1], place.width)
            for layer in place.layers
        ]
        return output + torch.cat(parts, dim=-1).to(output.dtype)

    return add


def lora_in(path: Path, unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """Return the LoRA of a file, at its full strength; none from a file that has none.

    Raises AppError for one that is damaged, or changes more than the attention of this UNet: what
    it does cannot be told from a part of it.
    """
    places = {
        layer: [place.module.in_features, place.width]
        for _, place in _places(unet, fused=False)
        for layer in place.layers
    }
    with open_weights(path) as weights:
        names = [name for name in weights.entries if "bundle_emb." not in name]
        tensors = {name: weights.read(name, torch.float32) for name in names}
    lora: dict[str, Tensor] = {}
    for layer in {name.partition(".")[0] for name in tensors}:
        down, up = (tensors.pop(f"{layer}.{ending}", None) for ending in (_DOWN, _UP))
        if down is None or up is None or down.ndim != 2 or up.ndim != 2:
            break
        rank = len(down)
        alpha = tensors.pop(f"{layer}.{_ALPHA}", torch.tensor(float(rank)))
        if [down.shape[1], up.shape[0]] != places.get(layer) or up.shape[1] != rank:
            break
        lora |= {f"{layer}.{_DOWN}": down, f"{layer}.{_UP}": up * (alpha / rank)}
    else:
        if not tensors:
            return lora
    raise AppError(f"{path.name} is no LoRA of the attention of this model.")


def file_of(lora: Lora, embeddings: Sequence[Embedding], metadata: Mapping[str, str]) -> bytes:
    """Return a LoRA as a safetensors file that brings embeddings along, in A1111's layout."""
    tensors: dict[str, Tensor] = {}
    rank = 0
    for name, weights in lora.items():
        tensors[name] = weights.detach().cpu().float().contiguous()
        if name.endswith(_DOWN):
            rank = len(weights)  # so that the file's strength is 1
            tensors[name.removesuffix(_DOWN) + _ALPHA] = torch.tensor(float(rank))
    for embedding in embeddings:
        alone = len(embedding.vectors) == 1
        for key, rows in embedding.vectors.items():
            ending = "string_to_param.*" if alone else key
            tensors[f"bundle_emb.{embedding.name}.{ending}"] = rows.contiguous()
    notes = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(rank)),
    }
    return safetensors_file.write(tensors, {**notes, **metadata})
