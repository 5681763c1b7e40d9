"""The shipped folder, written and read: Stable Diffusion's layout, float16 safetensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from starter.unet import build_scheduler
from starter.world import SIDE
from webui.files import write_whole

DEFAULTS = {
    "width": SIDE,
    "height": SIDE,
    "steps": 20,
    "cfg_scale": 4.0,
    "sampler": "DDIM",
    "example_prompts": [
        "a red circle on a blue background",
        "a large yellow star in the night sky",
        "a pink heart with white dots on a purple background",
        "an orange fish on a teal background, watercolor",
        "a blue house in a meadow",
        "three yellow fish on a purple background",
        "a black cat on the left of the picture, on an orange background",
        "a neon sign of a green flower on a black background",
        "a purple mushroom on a yellow background, pixel art",
        "a red heart next to a white star on a blue background",
    ],
}


@dataclass(frozen=True)
class Parts:
    """The three networks of the model."""

    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel


def load_parts(folder: Path) -> Parts:
    """Return the shipped networks in float32, to go on training from."""
    kind = {"dtype": torch.float32}
    return Parts(
        AutoencoderKL.from_pretrained(folder / "vae", **kind),
        CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
        UNet2DConditionModel.from_pretrained(folder / "unet", **kind),
    )


def load_pipeline(folder: Path, device: str = "cpu") -> StableDiffusionPipeline:
    """Return the shipped model as a diffusers pipeline in float32, without a progress bar."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def size_bytes(folder: Path) -> int:
    """Return the bytes of all files in ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _half(part: nn.Module) -> nn.Module:
    return part.to("cpu", torch.float16)


def ship(parts: Parts, folder: Path) -> None:
    """Write the model to ``folder``, beside the tokenizer there; the networks become float16."""
    tokenizer = folder / "tokenizer"
    settings = (tokenizer / "tokenizer_config.json").read_text()
    StableDiffusionPipeline(
        vae=_half(parts.vae),
        text_encoder=_half(parts.text_encoder),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer),
        unet=_half(parts.unet),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    for part in ("vae", "unet"):  # where the weights were gone on from is nobody's business
        config = folder / part / "config.json"
        values = json.loads(config.read_text())
        values.pop("_name_or_path", None)
        write_whole(config, json.dumps(values, indent=2) + "\n")
    # The library adds a third form of the same vocabulary, twice as large as the other two.
    (tokenizer / "tokenizer.json").unlink(missing_ok=True)
    write_whole(tokenizer / "tokenizer_config.json", settings)
    write_whole(folder / "defaults.json", json.dumps(DEFAULTS, indent=2) + "\n")
