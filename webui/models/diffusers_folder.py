"""Load a checkpoint from a diffusers folder: model_index.json and a sub-folder per part."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from webui.errors import AppError, UnreadableFile
from webui.models.catalog import Checkpoint
from webui.models.ldm_names import OLD_VAE_ATTENTION
from webui.models.model import Model, assemble
from webui.models.parts import filled, load_vae, read_config, read_tokenizer, without_weights
from webui.models.recognition import refuse_channels
from webui.models.weights_file import open_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


_Network = TypeVar("_Network", bound="nn.Module")
_WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)(\.fp16)?(-00001-of-\d+)?\.(safetensors|bin)"
)
"""The names under which diffusers and transformers find weights in a folder."""
_SHARD = re.compile(r"-(00001)-of-(\d+)")
MOST_SHARDS = 100


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

    def part_of(kind: type[_Network], part: str, dtype: torch.dtype = torch.float32) -> _Network:
        loaded = _part(kind, folder / part, name, device, dtype)
        del unread[part]
        report(1 - sum(unread.values()) / max(1, sum(sizes.values())))
        return loaded

    if vae_file is None:
        vae = part_of(AutoencoderKL, "vae")
    else:
        vae = load_vae(vae_file, folder, device)
    encoders: list[CLIPTextModel | CLIPTextModelWithProjection] = [
        part_of(CLIPTextModel, "text_encoder")
    ]
    if "XL" in kind:
        encoders.append(part_of(CLIPTextModelWithProjection, "text_encoder_2"))
    unet = part_of(UNet2DConditionModel, "unet", dtype)
    defaults = folder / "defaults.json"
    return assemble(
        checkpoint,
        tokenizer=read_tokenizer(checkpoint.path / "tokenizer", checkpoint.name),
        text_encoders=tuple(encoders),
        unet=unet,
        vae=vae,
        scheduler_config=read_config(folder / "scheduler" / "scheduler_config.json"),
        weights=_weights_file(folder / "unet", name),
        device=device,
        defaults=read_config(defaults) if defaults.exists() else {},
        hash_cache=hash_cache,
    )


def _part(
    kind: type[_Network], folder: Path, name: str, device: torch.device, dtype: torch.dtype
) -> _Network:
    """Load one network of a diffusers folder. Raises AppError naming what is wrong with it."""
    from webui.libraries import CLIPTextConfig

    first = _weights_file(folder, name)
    config = read_config(folder / "config.json")

    def make() -> _Network:
        if "CLIP" in kind.__name__:
            return kind(CLIPTextConfig(**config))
        return cast(_Network, cast(Any, kind).from_config(config))

    try:
        with ExitStack() as files:
            opened = [files.enter_context(open_weights(path)) for path in _shards(first)]
            places = {key: one for one in opened for key in one.entries}

            def fetch(wanted: str) -> Tensor | None:
                for key in _spellings(wanted):
                    if key in places:
                        return places[key].read(key, dtype)
                return None

            return filled(without_weights(make), fetch, first, "network", device, dtype)
    except UnreadableFile as error:
        named = f"{folder.name}/{first.name} of {name}"
        raise UnreadableFile(str(error).replace(first.name, named, 1)) from error
    except AppError:
        raise
    except Exception as error:  # the libraries raise whatever a config makes them
        reason = str(error).strip().splitlines()[0][:200] if str(error) else type(error).__name__
        raise AppError(
            f"{folder.name}/ of {name} could not be loaded: {reason}. Copy or download it again."
        ) from error


def _shards(first: Path) -> list[Path]:
    """Return all files of a network whose first is one of many, or the one."""
    found = _SHARD.search(first.name)
    if found is None:
        return [first]
    count = min(int(found[2]), MOST_SHARDS)
    start, end = first.name[: found.start()], first.name[found.end() :]
    return [
        first.with_name(f"{start}-{number:05d}-of-{found[2]}{end}")
        for number in range(1, count + 1)
    ]


def _spellings(wanted: str) -> list[str]:
    """Return the names under which a weight may lie in files of older libraries, too."""
    old = wanted
    if ".attentions." in wanted:
        for new_word, old_word in OLD_VAE_ATTENTION.items():
            old = old.replace(new_word, old_word)
    return [wanted, f"text_model.{wanted}", wanted.removeprefix("text_model."), old]


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
