"""The names of real checkpoints, checked at full size against diffusers' own reader."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import init_empty_weights

from webui.models import ldm_names as names
from webui.models.parts import read_config
from webui.models.single_file import CONFIGS

FAMILIES = ["sd1", "sd2", "sdxl"]


def empty_network(family: str, part: str):
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = read_config(CONFIGS / family / part / "config.json")
    with init_empty_weights():
        if part == "unet":
            return UNet2DConditionModel.from_config(config), config
        if part == "vae":
            return AutoencoderKL.from_config(config), config
        kind = CLIPTextModelWithProjection if part.endswith("2") else CLIPTextModel
        return kind(CLIPTextConfig(**config)), config


@pytest.mark.parametrize("family", FAMILIES)
def test_diffusers_finds_every_unet_weight_under_our_name(family):
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    network, config = empty_network(family, "unet")
    file = {names.UNET + names.unet_name(name, config): name for name in network.state_dict()}
    found = convert_ldm_unet_checkpoint(file, dict(network.config))
    assert found == {name: name for name in network.state_dict()}


@pytest.mark.parametrize("family", FAMILIES)
def test_diffusers_finds_every_vae_weight_under_our_name(family):
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    network, config = empty_network(family, "vae")
    tags = {name: torch.full((1, 1, 1, 1), float(n)) for n, name in enumerate(network.state_dict())}
    file = {names.VAE + names.vae_name(name, config): tag for name, tag in tags.items()}
    found = convert_ldm_vae_checkpoint(file, dict(network.config))
    assert {name: float(tag.sum()) for name, tag in found.items()} == {
        name: float(tag.sum()) for name, tag in tags.items()
    }


@pytest.mark.parametrize(
    "family, part, prefix",
    [
        ("sd2", "text_encoder", "cond_stage_model.model."),
        ("sdxl", "text_encoder_2", "conditioner.embedders.1.model."),
    ],
)
def test_diffusers_finds_every_open_clip_weight_under_our_name(family, part, prefix):
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    network, config = empty_network(family, part)
    width, state = config["hidden_size"], {}
    wanted = {name.removeprefix("text_model."): name for name in network.state_dict()}
    for short in wanted:
        key, third = names.open_clip_name(short)
        rows = torch.zeros(3 * width, 1) if third is not None else torch.zeros(width, 1)
        state[prefix + key] = rows[:, 0] if key.endswith("bias") else rows
    found = convert_open_clip_checkpoint(
        SimpleNamespace(config=SimpleNamespace(hidden_size=width)), state, prefix
    )
    assert {name.removeprefix("text_model.") for name in found} == set(wanted)


def test_some_names_are_as_they_stand_in_published_files():
    sd1 = read_config(CONFIGS / "sd1" / "unet" / "config.json")
    sdxl = read_config(CONFIGS / "sdxl" / "unet" / "config.json")
    assert names.unet_name("up_blocks.0.upsamplers.0.conv.weight", sd1) == (
        "output_blocks.2.1.conv.weight"
    )
    assert names.unet_name("up_blocks.1.upsamplers.0.conv.weight", sd1) == (
        "output_blocks.5.2.conv.weight"
    )
    block = "transformer_blocks.9.attn2.to_k.weight"
    assert names.unet_name(f"down_blocks.2.attentions.1.{block}", sdxl) == (
        f"input_blocks.8.1.{block}"
    )
    assert names.ema_name("input_blocks.0.0.weight") == (
        "model_ema.diffusion_modelinput_blocks00weight"
    )


@pytest.mark.parametrize(
    "family, millions",
    [
        ("sd1", {"unet": 859.5, "vae": 83.7, "text_encoder": 123.1}),
        ("sd2", {"unet": 865.9, "vae": 83.7, "text_encoder": 340.4}),
        ("sdxl", {"unet": 2567.5, "vae": 83.7, "text_encoder": 123.1, "text_encoder_2": 694.7}),
    ],
)
def test_the_shipped_configs_describe_networks_of_the_published_sizes(family, millions):
    for part, size in millions.items():
        network, _ = empty_network(family, part)
        found = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        assert round(found, 1) == size, part
