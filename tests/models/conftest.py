"""Checkpoints of each family as single files: small random weights under their true names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from webui.models import ldm_names as names
from webui.models.parts import read_config
from webui.models.single_file import CONFIGS

SMALLER = {
    "sd1": {"block_out_channels": [16, 16, 32, 32]},
    "sd2": {"block_out_channels": [16, 16, 32, 32], "attention_head_dim": [1, 1, 2, 2]},
    "sdxl": {
        "block_out_channels": [16, 32, 32],
        "attention_head_dim": [1, 2, 2],
        "transformer_layers_per_block": [1, 1, 2],
    },
}
"""What is smaller in the UNets of the tests; the structure is that of the real ones."""
SMALLER_VAE = {"block_out_channels": [8, 8, 16, 16], "layers_per_block": 1, "norm_num_groups": 8}
SMALLER_TEXT = {
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 1000,
}


def write_configs(family: str, folder: Path) -> Path:
    """Write the configs of a family, shrunk, as a diffusers folder without weights."""
    for source in sorted((CONFIGS / family).glob("*/*.json")):
        config = read_config(source)
        if source.parent.name == "unet":
            config |= SMALLER[family] | {"layers_per_block": 1, "norm_num_groups": 8}
        elif source.parent.name == "vae":
            config |= SMALLER_VAE
        elif source.parent.name.startswith("text"):
            config |= SMALLER_TEXT
        target = folder / source.relative_to(CONFIGS / family)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(config))
    return folder


def random_weights(configs: Path) -> dict[str, dict[str, Any]]:
    """Make random weights for the networks of a configs folder, by part and diffusers' name."""
    import torch
    from accelerate import init_empty_weights
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    text = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    torch.manual_seed(0)
    parts = {}
    for folder in sorted(path for path in configs.iterdir() if path.name != "scheduler"):
        config = read_config(folder / "config.json")
        with init_empty_weights():
            if folder.name in text:
                part = text[folder.name](CLIPTextConfig(**config))
            else:
                kind = UNet2DConditionModel if folder.name == "unet" else AutoencoderKL
                part = kind.from_config(config)
        parts[folder.name] = {
            name: torch.randn(empty.shape) * 0.05 for name, empty in part.state_dict().items()
        }
    return parts


def original_layout(
    family: str, parts: dict[str, dict[str, Any]], configs: Path, ema: str = "none"
) -> dict[str, Any]:
    """Give weights the names and shapes of the original single files.

    ``ema``: "none", "beside" the plain weights, or "only" the running mean, which is the same.
    """
    import torch

    unet_config = read_config(configs / "unet" / "config.json")
    vae_config = read_config(configs / "vae" / "config.json")
    state: dict[str, Any] = {"alphas_cumprod": torch.ones(1000)}
    for name, tensor in parts["unet"].items():
        original = names.unet_name(name, unet_config)
        if ema != "only":
            state[names.UNET + original] = tensor
        if ema != "none":
            state[names.ema_name(original)] = tensor if ema == "only" else tensor + 1
    for name, tensor in parts["vae"].items():
        original = names.vae_name(name, vae_config)
        convolution = ".attn_1." in original and tensor.ndim == 2
        state[names.VAE + original] = tensor[:, :, None, None] if convolution else tensor
    if family == "sd2":
        state |= _open_clip(parts["text_encoder"], "cond_stage_model.model.")
        last = {"resblocks.2.ln_1.weight": torch.ones(1024)}  # the layer that is never used
        state |= {"cond_stage_model.model.transformer." + k: v for k, v in last.items()}
    else:
        xl = family == "sdxl"
        prefix = "conditioner.embedders.0.transformer." if xl else "cond_stage_model.transformer."
        state |= {f"{prefix}text_model.{k}": v for k, v in parts["text_encoder"].items()}
        state[f"{prefix}text_model.embeddings.position_ids"] = torch.arange(77)[None]
        if xl:
            state |= _open_clip(parts["text_encoder_2"], "conditioner.embedders.1.model.")
            state["conditioner.embedders.1.model.logit_scale"] = torch.ones(())
    return state


def _open_clip(weights: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Join query, key and value of each layer, and turn the projection, as OpenCLIP has them."""
    import torch

    state: dict[str, Any] = {}
    thirds: dict[str, dict[int, Any]] = {}
    for name, tensor in weights.items():
        original, third = names.open_clip_name(name)
        if third is not None:
            thirds.setdefault(prefix + original, {})[third] = tensor
        else:
            state[prefix + original] = tensor.T if original == "text_projection" else tensor
    joined = {key: torch.cat([parts[n] for n in range(3)]) for key, parts in thirds.items()}
    return state | joined


@dataclass(frozen=True)
class Sample:
    """A checkpoint of one family that tests may write in any form."""

    family: str
    configs: Path
    parts: dict[str, dict[str, Any]]

    def state(self, ema: str = "none", **extra: Any) -> dict[str, Any]:
        """Return the original layout of its weights, with further entries."""
        return original_layout(self.family, self.parts, self.configs, ema) | extra

    def write(self, path: Path, state: dict[str, Any] | None = None, half: bool = True) -> Path:
        """Write it as .safetensors or .ckpt (by the ending), in fp16 or fp32."""
        import torch
        from safetensors.torch import save_file

        weights = {
            key: value.contiguous().to(torch.float16 if half else torch.float32)
            if value.is_floating_point()
            else value
            for key, value in (state or self.state()).items()
        }
        if path.suffix == ".safetensors":
            save_file(weights, path)
        else:
            torch.save({"state_dict": weights, "global_step": 1000, "epoch": 0}, path)
        return path


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sample]]:
    """One small checkpoint of each family."""
    folder = tmp_path_factory.mktemp("configs")
    found = {}
    for family in SMALLER:
        configs = write_configs(family, folder / family)
        found[family] = Sample(family, configs, random_weights(configs))
    yield found


@pytest.fixture
def make_sample() -> type[Sample]:
    """Makes a checkpoint of given weights."""
    return Sample


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to reach another machine fails the test."""
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
