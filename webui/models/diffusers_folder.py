"""Load a checkpoint from a diffusers folder: model_index.json and a sub-folder per part."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from webui.errors import AppError
from webui.models.catalog import Checkpoint
from webui.models.model import Model, assemble
from webui.models.parts import load_vae, read_config
from webui.models.recognition import refuse_channels

if TYPE_CHECKING:
    import torch

    from webui.libraries import CLIPTokenizer

_Network = TypeVar("_Network")
_WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)(\.fp16)?(-00001-of-\d+)?\.(safetensors|bin)"
)
"""The names under which diffusers and transformers find weights in a folder."""


def load_folder(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    vae_file: Path | None,
    hash_cache: Path,
    report: Callable[[float], None],
) -> Model:
    """Read a diffusers folder. Raises AppError saying what is wrong with it.

    ``vae_file`` takes the place of the VAE inside. ``report`` is told which part of the weights,
    0 to 1, has been read.
    """
    import torch

    from webui.libraries import (
        AutoencoderKL,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        UNet2DConditionModel,
    )

    folder, name = checkpoint.path, checkpoint.name
    kind = read_config(folder / "model_index.json").get("_class_name", "")
    if kind not in ("StableDiffusionPipeline", "StableDiffusionXLPipeline"):
        raise AppError(
            f"{name} is a {kind or 'model of unknown kind'}. The app draws with Stable Diffusion "
            "1.x, 2.x and SDXL."
        )
    refuse_channels(name, read_config(folder / "unet" / "config.json").get("in_channels", 4))
    sizes = {
        part: sum(path.stat().st_size for path in (folder / part).glob("*") if path.is_file())
        for part in ("vae", "text_encoder", "text_encoder_2", "unet")
    }
    unread = dict(sizes)

    def part_of(kind: type[_Network], part: str, **precision: torch.dtype) -> _Network:
        loaded = _part(kind, folder / part, name, **precision)
        del unread[part]
        report(1 - sum(unread.values()) / max(1, sum(sizes.values())))
        return loaded

    if vae_file is None:
        vae = part_of(AutoencoderKL, "vae", torch_dtype=torch.float32)
    else:
        vae = load_vae(vae_file, folder, device)
    encoders: list[CLIPTextModel | CLIPTextModelWithProjection] = [
        part_of(CLIPTextModel, "text_encoder", dtype=torch.float32)
    ]
    if "XL" in kind:
        second = part_of(CLIPTextModelWithProjection, "text_encoder_2", dtype=torch.float32)
        encoders.append(second)
    unet = part_of(UNet2DConditionModel, "unet", torch_dtype=dtype)
    defaults = folder / "defaults.json"
    return assemble(
        checkpoint,
        tokenizer=_tokenizer(checkpoint),
        text_encoders=tuple(encoders),
        unet=unet,
        vae=vae,
        scheduler_config=read_config(folder / "scheduler" / "scheduler_config.json"),
        weights=_weights_file(folder / "unet", name),
        device=device,
        defaults=read_config(defaults) if defaults.exists() else {},
        hash_cache=hash_cache,
    )


def _part(kind: type[_Network], folder: Path, name: str, **precision: torch.dtype) -> _Network:
    """Load one network of a diffusers folder. Raises AppError naming what is wrong with it."""
    weights = _weights_file(folder, name)
    read_config(folder / "config.json")
    try:
        loaded: tuple[_Network, dict[str, Any]] = cast(Any, kind).from_pretrained(
            folder,
            local_files_only=True,
            variant="fp16" if ".fp16" in weights.name else None,
            output_loading_info=True,
            **precision,
        )
    except Exception as error:  # the libraries raise whatever their readers raise
        reason = str(error).strip().splitlines()[0][:200] if str(error) else type(error).__name__
        raise AppError(
            f"{folder.name}/{weights.name} of {name} could not be loaded: {reason}. It may be "
            "damaged or cut off; copy or download it again."
        ) from error
    part, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise AppError(
            f"{folder.name}/{weights.name} of {name} lacks {len(missing)} weights, the first of "
            f"them {missing[0]}. Copy or download it again."
        )
    return part


def _tokenizer(checkpoint: Checkpoint) -> CLIPTokenizer:
    from webui.libraries import CLIPTokenizer

    folder = checkpoint.path / "tokenizer"
    if not folder.is_dir():
        raise AppError(f"{checkpoint.name} has no folder tokenizer/. Copy the whole model again.")
    try:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AppError(
            f"The files in tokenizer/ of {checkpoint.name} are not readable: {error}."
        ) from error
    return tokenizer


def _weights_file(folder: Path, name: str) -> Path:
    """Return the file (of several, the first) that a network of a folder is loaded from."""
    if not folder.is_dir():
        raise AppError(f"{name} has no folder {folder.name}/. Copy the whole model again.")
    files = [path for path in sorted(folder.iterdir()) if _WEIGHTS.fullmatch(path.name)]
    if not files:
        raise AppError(
            f"{name} has no weights in its folder {folder.name}/. Copy the whole model again."
        )
    return min(files, key=lambda path: (path.suffix != ".safetensors", ".fp16" in path.name))
