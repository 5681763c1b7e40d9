"""The networks of a single file, built from a config and filled weight by weight."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from webui.errors import AppError, UnreadableFile
from webui.files import sha256
from webui.models import recognition
from webui.models.ldm_names import (
    OLD_VAE_ATTENTION,
    UNET,
    VAE,
    ema_name,
    open_clip_name,
    unet_name,
    vae_name,
)
from webui.models.recognition import CheckpointInfo
from webui.models.weights_file import WeightsFile, open_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from webui.libraries import AutoencoderKL, CLIPTokenizer, UNet2DConditionModel
    from webui.models.model import ClipModel

_Network = TypeVar("_Network", bound="nn.Module")
_tokenizers: dict[tuple[tuple[str, str], ...], CLIPTokenizer] = {}
"""By the names and SHA-256 of their files."""
_MOST_TOKENIZERS = 4
Fetch = Callable[[str], "Tensor | None"]
"""Gives the weight that a network calls by this name, or None if it is not in the file."""


def read_config(path: Path) -> dict[str, Any]:
    """Return a JSON file of a checkpoint. Raises AppError if there is no object in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AppError(f"{path.name} of {path.parent.name} is not readable: {error}.") from error
    if not isinstance(content, dict):
        raise AppError(f"{path.name} of {path.parent.name} holds no settings.")
    return content


def read_tokenizer(folder: Path, checkpoint: str) -> CLIPTokenizer:
    """Return the tokenizer of a checkpoint's folder. Raises AppError, naming the checkpoint.

    Nearly all checkpoints have CLIP's own. Folders with the same files share one tokenizer: it
    takes a quarter of a second to read, and what it made of words is remembered with it.
    """
    from webui.libraries import CLIPTokenizer

    if not folder.is_dir():
        raise AppError(f"{checkpoint} has no folder tokenizer/. Copy the whole model again.")
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        files = tuple((path.name, sha256(path)) for path in paths)
        if files not in _tokenizers:
            if len(_tokenizers) >= _MOST_TOKENIZERS:
                _tokenizers.clear()
            read = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            _tokenizers[files] = read
        return _tokenizers[files]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AppError(
            f"The files in tokenizer/ of {checkpoint} are not readable: {error}."
        ) from error


def load_vae(path: Path, configs: Path, device: torch.device) -> AutoencoderKL:
    """Read a VAE from a file of its own, in the original or in diffusers' layout, in float32.

    ``configs`` is the diffusers folder that has vae/config.json. Raises AppError.
    """
    with open_weights(path) as weights:
        return build_vae(weights, configs, device)


def build_unet(
    weights: WeightsFile,
    anatomy: CheckpointInfo,
    configs: Path,
    device: torch.device,
    dtype: torch.dtype,
) -> UNet2DConditionModel:
    """Build the UNet in ``dtype``."""
    from webui.libraries import UNet2DConditionModel

    config = read_config(configs / "unet" / "config.json")

    def fetch(name: str) -> Tensor | None:
        original = unet_name(name, config)
        key = ema_name(original) if anatomy.only_ema else UNET + original
        return weights.read(key, dtype) if key in weights.entries else None

    empty: UNet2DConditionModel = without_weights(lambda: UNet2DConditionModel.from_config(config))
    return filled(empty, fetch, weights.path, "UNet", device, dtype)


def build_vae(weights: WeightsFile, configs: Path, device: torch.device) -> AutoencoderKL:
    """Build the VAE in float32, from a whole checkpoint or from a file of its own."""
    import torch

    from webui.libraries import AutoencoderKL

    config = read_config(configs / "vae" / "config.json")

    def fetch(name: str) -> Tensor | None:
        original, old = vae_name(name, config), name
        if ".attentions." in name:
            for new_word, old_word in OLD_VAE_ATTENTION.items():
                old = old.replace(new_word, old_word)
        for key in (VAE + original, original, name, old):
            if key in weights.entries:
                return weights.read(key, torch.float32)
        return None

    empty: AutoencoderKL = without_weights(lambda: AutoencoderKL.from_config(config))
    return filled(empty, fetch, weights.path, "VAE", device, torch.float32)


def build_text_encoders(
    weights: WeightsFile, anatomy: CheckpointInfo, configs: Path, device: torch.device
) -> tuple[ClipModel, ...]:
    """Build the family's text encoders in float32."""
    import torch

    from webui.libraries import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def clip(prefix: str) -> Fetch:
        def fetch(name: str) -> Tensor | None:
            for key in (f"{prefix}text_model.{name}", f"{prefix}{name}"):
                if key in weights.entries:
                    return weights.read(key, torch.float32)
            return None

        return fetch

    def open_clip(prefix: str) -> Fetch:
        def fetch(name: str) -> Tensor | None:
            original, third = open_clip_name(name)
            if prefix + original not in weights.entries:
                return None
            tensor = weights.read(prefix + original, torch.float32)
            if original == "text_projection":
                return tensor.T
            return tensor if third is None else tensor.chunk(3)[third]

        return fetch

    def build(kind: Callable[[CLIPTextConfig], ClipModel], folder: str, fetch: Fetch) -> ClipModel:
        config = CLIPTextConfig(**read_config(configs / folder / "config.json"))
        empty = without_weights(lambda: kind(config))
        return filled(empty, fetch, weights.path, "text encoder", device, torch.float32)

    if anatomy.family.key == "sdxl":
        return (
            build(CLIPTextModel, "text_encoder", clip(recognition.XL_CLIP)),
            build(
                CLIPTextModelWithProjection, "text_encoder_2", open_clip(recognition.XL_OPEN_CLIP)
            ),
        )
    if anatomy.family.key == "sd2":
        return (build(CLIPTextModel, "text_encoder", open_clip(recognition.OPEN_CLIP)),)
    return (build(CLIPTextModel, "text_encoder", clip(recognition.CLIP)),)


def without_weights(make: Callable[[], _Network]) -> _Network:
    """Make a network whose weights take no memory yet."""
    from webui.libraries import init_empty_weights

    with init_empty_weights():
        return make()


def filled(
    part: _Network,
    fetch: Fetch,
    path: Path,
    title: str,
    device: torch.device,
    dtype: torch.dtype,
) -> _Network:
    """Give a network its weights, each a copy of its own in ``dtype`` on ``device``.

    On processors those of a UNet's convolutions lie in the order that is computed fastest.
    Raises UnreadableFile if some are missing or have another shape.
    """
    import torch

    from webui.libraries import UNet2DConditionModel

    quick = device.type == "cpu" and isinstance(part, UNet2DConditionModel)
    state: dict[str, Tensor] = {}
    missing = []
    for name, wanted in part.state_dict().items():
        tensor = fetch(name)
        if tensor is None:
            missing.append(name)
            continue
        if tensor.ndim != wanted.ndim and tensor.numel() == wanted.numel():
            tensor = tensor.reshape(wanted.shape)  # a 1×1 convolution or a linear layer: the same
        if tensor.shape != wanted.shape:
            raise UnreadableFile(
                f"{path.name} could not be loaded. The weight {name} of its {title} is "
                f"{tuple(tensor.shape)}; a model of this family has {tuple(wanted.shape)}."
            )
        is_part = tensor.untyped_storage().nbytes() > tensor.nbytes  # of one that need not stay
        order = torch.channels_last if quick and tensor.ndim == 4 else torch.contiguous_format
        state[name] = tensor.to(device=device, dtype=dtype, copy=is_part).contiguous(
            memory_format=order
        )
    if missing:
        raise UnreadableFile(
            f"{path.name} could not be loaded. Its {title} lacks {len(missing)} of "
            f"{len(part.state_dict())} weights, the first of them {missing[0]}. The file is not "
            "complete, or the model is a smaller relative that the app does not know."
        )
    part.load_state_dict(state, assign=True)
    return part
