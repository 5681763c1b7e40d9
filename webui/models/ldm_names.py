"""What weights are called in single files: diffusers' names to those of the original code.

Described from the networks of CompVis' latent-diffusion and Stability's generative-models
(``UNetModel``, ``AutoencoderKL``) and of OpenAI's CLIP and OpenCLIP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNET = "model.diffusion_model."
"""What the UNet's names begin with in a single file."""
EMA = "model_ema.diffusion_model"
"""The same for the running mean of its weights, whose names then go on without any dot."""
VAE = "first_stage_model."

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
OLD_VAE_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""What diffusers itself called the VAE's attention before version 0.16."""
_OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_OPEN_CLIP_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
}


def unet_name(name: str, config: Mapping[str, Any]) -> str:
    """Return the original name of a UNet weight, without ``UNET`` before it.

    ``config`` is the UNet's: in the original the blocks are one numbered list, so how many layers
    a block has decides the numbers.
    """
    each = config["layers_per_block"] + 1
    module, _, kind = name.rpartition(".")
    if module in _UNET_ENDS:
        return f"{_UNET_ENDS[module]}.{kind}"
    place = re.fullmatch(r"(down|up|mid)_blocks?\.(?:(\d+)\.)?(\w+)\.(\d+)\.(.+)", name)
    if place is None:
        raise KeyError(name)
    side, part, number, rest = place[1], place[3], int(place[4]), place[5]
    if part == "resnets":
        rest = _renamed(rest, _RESNET)
    if side == "mid":
        return f"middle_block.{2 * number if part == 'resnets' else 1}.{rest}"
    block = int(place[2])
    if part == "downsamplers":
        return f"input_blocks.{(block + 1) * each}.0.op.{kind}"
    if part == "upsamplers":
        attends = "CrossAttn" in config["up_block_types"][block]
        return f"output_blocks.{block * each + each - 1}.{2 if attends else 1}.conv.{kind}"
    inside = 0 if part == "resnets" else 1
    if side == "down":
        return f"input_blocks.{1 + block * each + number}.{inside}.{rest}"
    return f"output_blocks.{block * each + number}.{inside}.{rest}"


def ema_name(original: str) -> str:
    """Return the name under which the running mean of a UNet weight lies in a file."""
    return EMA + original.replace(".", "")


def vae_name(name: str, config: Mapping[str, Any]) -> str:
    """Return the original name of a VAE weight, without ``VAE`` before it."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if found := re.fullmatch(r"(\w+)\.mid_block\.resnets\.(\d)\.(.+)", name):
        return f"{found[1]}.mid.block_{int(found[2]) + 1}.{found[3]}"
    if found := re.fullmatch(r"(\w+)\.mid_block\.attentions\.0\.(.+)", name):
        return f"{found[1]}.mid.attn_1.{_renamed(found[2], _VAE_ATTENTION)}"
    found = re.fullmatch(r"(\w+)\.(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if found is None:
        return name
    coder, side, block, part, number, rest = found.groups()
    # The original counts the decoder's blocks from the picture's side.
    place = int(block) if side == "down" else len(config["up_block_types"]) - 1 - int(block)
    if part == "resnets":
        return f"{coder}.{side}.{place}.block.{number}.{rest}"
    return f"{coder}.{side}.{place}.{side}sample.{rest}"


def open_clip_name(name: str) -> tuple[str, int | None]:
    """Return the OpenCLIP name of a text encoder weight, and which third of that tensor it is.

    OpenCLIP keeps query, key and value of a layer in one tensor, one above the other.
    """
    name = name.removeprefix("text_model.")
    if name in _OPEN_CLIP_ENDS:
        return _OPEN_CLIP_ENDS[name], None
    found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", name)
    if found is None:
        raise KeyError(name)
    layer = f"transformer.resblocks.{found[1]}"
    if joined := re.fullmatch(r"self_attn\.([qkv])_proj\.(\w+)", found[2]):
        return f"{layer}.attn.in_proj_{joined[2]}", "qkv".index(joined[1])
    return f"{layer}.{_renamed(found[2], _OPEN_CLIP)}", None


def _renamed(name: str, names: Mapping[str, str]) -> str:
    """Replace the module that a name begins with."""
    module, dot, kind = name.rpartition(".")
    return names.get(module, module) + dot + kind
