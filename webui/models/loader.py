"""Load a checkpoint from the disk; nothing here ever asks the network."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.errors import AppError
from webui.models.catalog import Checkpoint, separate_vae
from webui.models.families import FAMILIES, family_of_widths
from webui.models.hashes import HASH_CACHE, short_hash
from webui.models.model import Model, TextEncoder
from webui.models.parts import load_vae, read_config
from webui.models.recognition import refuse_channels

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)(\.fp16)?(-00001-of-\d+)?\.(safetensors|bin)"
)
"""The names under which diffusers and transformers find weights in a folder."""


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


def choose_dtype(device: torch.device, wish: str = "auto") -> torch.dtype:
    """Return the UNet's precision: as wished, else half where the device is made for it."""
    import torch

    named = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if wish != "auto":
        return named[wish]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    *,
    hash_cache: Path = HASH_CACHE,
) -> Model:
    """Read a checkpoint into memory and put it on ``device``, ready to draw and to train on.

    The UNet takes ``dtype``; text encoders and VAE stay in float32, where half precision is known
    to overflow. All parts are frozen. A VAE file that goes with the checkpoint takes the place of
    its own (see ``catalog.separate_vae``). ``hash_cache`` remembers hashes of large files.
    Raises AppError if the checkpoint is not one the app can use, or does not fit into memory.
    """
    import torch

    vae_file = separate_vae(checkpoint)
    if vae_file is not None:
        log.info("%s is loaded with the VAE %s.", checkpoint.name, vae_file.name)
    try:
        if checkpoint.is_folder:
            return _load_folder(checkpoint, device, dtype, vae_file, hash_cache)
        from webui.models.single_file import load_single_file

        return load_single_file(checkpoint, device, dtype, vae_file=vae_file, hash_cache=hash_cache)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise AppError(
            f"{checkpoint.name} does not fit into the memory of {device}. Close other programs "
            "that use it, start the app with --offload model, --precision fp16 or --device cpu."
        ) from error


def _load_folder(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    vae_file: Path | None,
    hash_cache: Path,
) -> Model:
    """Read a diffusers folder (model_index.json and a sub-folder per part)."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    folder, name = checkpoint.path, checkpoint.name
    kind = read_config(folder / "model_index.json").get("_class_name", "")
    if kind not in ("StableDiffusionPipeline", "StableDiffusionXLPipeline"):
        raise AppError(
            f"{name} is a {kind or 'model of unknown kind'}. The app draws with Stable Diffusion "
            "1.x, 2.x and SDXL."
        )
    refuse_channels(name, read_config(folder / "unet" / "config.json").get("in_channels", 4))
    if vae_file is None:
        vae = _part(AutoencoderKL, folder / "vae", name, torch_dtype=torch.float32)
    else:
        vae = load_vae(vae_file, folder, device)
    encoders = [_part(CLIPTextModel, folder / "text_encoder", name, dtype=torch.float32)]
    if "XL" in kind:
        second = folder / "text_encoder_2"
        encoders.append(_part(CLIPTextModelWithProjection, second, name, dtype=torch.float32))
    unet = _part(UNet2DConditionModel, folder / "unet", name, torch_dtype=dtype)
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


def _part(kind: Any, folder: Path, name: str, **precision: torch.dtype) -> Any:
    """Load one network of a diffusers folder. Raises AppError naming what is wrong with it."""
    weights = _weights_file(folder, name)
    read_config(folder / "config.json")
    try:
        part, report = kind.from_pretrained(
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
    if missing := sorted(report["missing_keys"]):
        raise AppError(
            f"{folder.name}/{weights.name} of {name} lacks {len(missing)} weights, the first of "
            f"them {missing[0]}. Copy or download it again."
        )
    return part


def _tokenizer(checkpoint: Checkpoint) -> Any:
    from transformers import CLIPTokenizer

    folder = checkpoint.path / "tokenizer"
    if not folder.is_dir():
        raise AppError(f"{checkpoint.name} has no folder tokenizer/. Copy the whole model again.")
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AppError(
            f"The files in tokenizer/ of {checkpoint.name} are not readable: {error}."
        ) from error


def assemble(
    checkpoint: Checkpoint,
    *,
    tokenizer: Any,
    text_encoders: tuple[Any, ...],
    unet: Any,
    vae: Any,
    scheduler_config: dict[str, Any],
    weights: Path,
    device: torch.device,
    defaults: dict[str, Any] | None = None,
    hash_cache: Path = HASH_CACHE,
) -> Model:
    """Freeze the parts, move them to the device and join them into a Model.

    Raises AppError for text encoders of an unknown width.
    """
    for part in (*text_encoders, unet, vae):
        part.requires_grad_(False).eval().to(device)
    encoders = _text_encoders(text_encoders)
    widths = {encoder.key: encoder.width for encoder in encoders}
    family = family_of_widths(widths)
    if family is None:
        raise AppError(
            f"{checkpoint.name} has text encoders of width {sorted(widths.values())}, which no "
            "Stable Diffusion 1.x, 2.x or SDXL model has."
        )
    log.info("Loaded model %s (%s) on %s, %s.", checkpoint.name, family.label, device, unet.dtype)
    return Model(
        name=checkpoint.name,
        path=checkpoint.path,
        short_hash=short_hash(weights, hash_cache),
        family=family.key,
        tokenizer=tokenizer,
        text_encoders=encoders,
        unet=unet,
        vae=vae,
        scheduler_config=scheduler_config,
        device=device,
        dtype=unet.dtype,
        defaults={"width": family.size, "height": family.size} | (defaults or {}),
    )


def _text_encoders(models: tuple[Any, ...]) -> tuple[TextEncoder, ...]:
    """Name the text encoders and say which layer feeds the UNet."""
    if len(models) == 2:
        return (
            TextEncoder("clip_l", models[0], skipped_layers=1, final_norm=False),
            TextEncoder("clip_g", models[1], skipped_layers=1, final_norm=False),
        )
    wide = models[0].config.hidden_size == FAMILIES["sd2"].widths["clip_h"]
    # diffusers folders of SD 2.x leave the last layer out already, so the last one is penultimate.
    return (TextEncoder("clip_h" if wide else "clip_l", models[0]),)


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
