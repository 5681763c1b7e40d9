"""What a single file holds, told from the names and shapes in its header alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from webui.errors import AppError
from webui.models.families import FAMILIES, Family
from webui.models.ldm_names import EMA, UNET, VAE, ema_name
from webui.models.weights_file import WeightsFile

CLIP = "cond_stage_model.transformer."
"""What the text encoder's names begin with in SD 1.x."""
OPEN_CLIP = "cond_stage_model.model."
"""The same in SD 2.x."""
XL_CLIP = "conditioner.embedders.0.transformer."
XL_OPEN_CLIP = "conditioner.embedders.1.model."
XL_REFINER = "conditioner.embedders.0.model."
_FIRST = "input_blocks.0.0.weight"
"""The UNet's first convolution; its second dimension is the number of channels taken in."""
_SD2_BASE_STEPS = "875000"
"""Training steps of the one SD 2.0 checkpoint that predicts the noise (512-base-ema.ckpt)."""


@dataclass(frozen=True)
class CheckpointInfo:
    """What a single-file checkpoint is."""

    family: Family
    prediction_type: str | None
    """epsilon or v_prediction where the file or its neighbour says so, else None."""
    zero_terminal_snr: bool
    """The noise schedule was rescaled to end in pure noise."""
    only_ema: bool
    """Of the UNet only the running mean of its weights is there."""
    with_ema: bool
    """The running mean lies beside the weights ("full", not "pruned")."""
    precision: str
    """What most of its weights are: F16, BF16, F32, …"""


def recognise(weights: WeightsFile, name: str) -> CheckpointInfo:
    """Return what the file of a checkpoint called ``name`` is.

    Raises AppError, saying what it seems to be, for anything but a checkpoint of Stable Diffusion
    1.x, 2.x or SDXL that draws from text alone.
    """
    keys = weights.entries.keys()
    plain, ema = UNET + _FIRST in keys, ema_name(_FIRST) in keys
    if not (plain or ema):
        raise AppError(f"{name} is {_without_unet(keys)}")
    _refuse_specials(weights, name, UNET + _FIRST if plain else ema_name(_FIRST))
    prediction, zero_snr = _prediction(weights)
    return CheckpointInfo(
        family=_family(weights, name),
        prediction_type=prediction,
        zero_terminal_snr=zero_snr,
        only_ema=not plain,
        with_ema=ema,
        precision=Counter(entry.dtype for entry in weights.entries.values()).most_common(1)[0][0],
    )


def refuse_channels(name: str, channels: int) -> None:
    """Raise AppError for a UNet that takes in more than the four channels of latents."""
    if channels == 4:
        return
    special = {
        9: "an in-painting model (9 input channels), which needs an image and a mask",
        8: "an InstructPix2Pix model (8 input channels), which changes a given image",
        7: "an upscaling model (7 input channels), which needs a small image",
        5: "a depth model (5 input channels), which needs an image",
    }.get(channels, f"a model with {channels} input channels")
    raise AppError(
        f"{name} is {special}. The app draws from text alone; load the ordinary model of the "
        "same name."
    )


def _refuse_specials(weights: WeightsFile, name: str, first: str) -> None:
    """Raise AppError for relatives of Stable Diffusion that the app cannot draw with."""
    keys = weights.entries.keys()
    shape = weights.entries[first].shape
    refuse_channels(name, shape[1] if len(shape) == 4 else 0)
    for mark, kind in (
        (XL_REFINER, "the SDXL refiner, which only finishes images of the SDXL base model"),
        ("noise_augmentor.", "an unCLIP model, which starts from an image"),
        ("embedder.", "an unCLIP model, which starts from an image"),
        ("cond_stage_model.roberta.", "AltDiffusion, which has a text encoder of its own"),
        ("edm_mean", "Playground 2.5, which needs samplers of its own"),
        ("edm_vpred.", "CosXL, which needs samplers of its own"),
        ("control_model.", "a ControlNet joined to a model"),
    ):
        if any(key.startswith(mark) for key in keys):
            raise AppError(f"{name} is {kind}. Load a Stable Diffusion 1.x, 2.x or SDXL model.")
    if any(".motion_modules." in key or "temporal" in key for key in keys):
        raise AppError(f"{name} makes films. Load a Stable Diffusion 1.x, 2.x or SDXL model.")
    if any(key.endswith((".absmax", ".quant_map")) or ".quant_state" in key for key in keys):
        raise AppError(f"{name} is quantised (bitsandbytes). Load the fp16 file of the model.")


def _family(weights: WeightsFile, name: str) -> Family:
    """Tell the family from the text encoders: their names, and the width of their vectors."""
    entries = weights.entries
    if any(key.startswith(XL_OPEN_CLIP) for key in entries):
        return FAMILIES["sdxl"]
    if any(key.startswith(OPEN_CLIP) for key in entries):
        return FAMILIES["sd2"]
    for key, entry in entries.items():
        if key.startswith(CLIP) and key.endswith("token_embedding.weight"):
            width = entry.shape[-1]
            for family in (FAMILIES["sd1"], FAMILIES["starter"]):
                if family.widths["clip_l"] == width:
                    return family
            raise AppError(
                f"{name} has a text encoder of width {width}, which no Stable Diffusion 1.x, 2.x "
                "or SDXL model has."
            )
    raise AppError(
        f"{name} has a UNet but no text encoder. Get the whole checkpoint, which has UNet, VAE and "
        "text encoder in one file."
    )


def _prediction(weights: WeightsFile) -> tuple[str | None, bool]:
    """Return the prediction type, None if nothing says it, and whether the SNR ends at zero.

    Asked in this order: a ``.yaml`` of the same name beside the file, as CompVis and Stability
    publish; the empty tensors ``v_pred`` and ``ztsnr``, with which ComfyUI, Forge and NoobAI mark
    SDXL models; the ``modelspec.prediction_type`` of the safetensors header; the training steps
    of the SD 2.0 base model, as diffusers does.
    """
    zero_snr = "ztsnr" in weights.entries
    said = _in_yaml(weights.path.with_suffix(".yaml"))
    if said is None and "v_pred" in weights.entries:
        said = "v_prediction"
    if said is None:
        spec = weights.metadata.get("modelspec.prediction_type", "").lower()
        said = {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon"}.get(spec)
    if said is None and weights.metadata.get("global_step") == _SD2_BASE_STEPS:
        said = "epsilon"
    return said, zero_snr


def _in_yaml(path: Path) -> str | None:
    """Return what ``parameterization`` says in an original configuration, looked at as text."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^\s*parameterization:\s*[\"']?(v|eps)\b", text, re.MULTILINE)
    if found is None:
        # The configurations of SD 1.x and of SD 2.0 base leave it out, which means eps.
        return "epsilon" if re.search(r"^\s*unet_config:", text, re.MULTILINE) else None
    return "v_prediction" if found[1] == "v" else "epsilon"


def _without_unet(keys: Iterable[str]) -> str:
    """Say what a file without Stable Diffusion's UNet seems to be, and where it belongs."""
    names = list(keys)

    def any_has(*marks: str) -> bool:
        return any(mark in name for name in names for mark in marks)

    def any_starts(*marks: str) -> bool:
        return any(name.startswith(marks) for name in names)

    draws = "The app draws with Stable Diffusion 1.x, 2.x and SDXL."
    if not names:
        return "empty: there are no weights in it. Fetch it again."
    if any_has("lora_", ".lora.", "hada_w1", "lokr_w", ".oft_"):
        return "a LoRA, which only changes a model. Put it into models/lora/."
    if any_has("joint_blocks."):
        return f"a Stable Diffusion 3 model. {draws}"
    if any_has("double_blocks.", "single_transformer_blocks."):
        return f"a Flux model or one of its kind. {draws}"
    if any_has("motion_modules."):
        return f"an AnimateDiff motion module, which only adds to a model. {draws}"
    if any_starts("control_model.", "controlnet_") or any_has("zero_conv", "input_hint_block"):
        return "a ControlNet, which only steers a model. The app has no use for it."
    if any_starts("input_blocks.", "down_blocks.", "model.diffusion_model.down_blocks."):
        return (
            "the UNet of a model alone. Get the whole checkpoint, which has UNet, VAE and text "
            "encoder in one file."
        )
    if any_starts("decoder.conv_in", VAE):
        return "a VAE alone. Put it into models/vae/ under the name of the model it is for."
    if any_starts("string_to_param", "emb_params", "clip_l", "clip_g", "bundle_emb"):
        return "an embedding. Put it into embeddings/."
    if any_has("text_model.encoder.", "transformer.resblocks."):
        return "a text encoder alone, without the other parts of a model."
    if any_starts("clip_txt_mapper", UNET, EMA) or any_has("transformer_blocks.", "blocks.0."):
        return f"a model of another kind. {draws}"
    if any_starts("model.0.weight", "conv_first.", "RRDB_trunk.", "body.0.rdb"):
        return f"an upscaler, not a model that draws. {draws}"
    if len(names) <= 4:
        return "too small for a model. If it is an embedding, put it into embeddings/."
    return f"of no kind that the app knows (its first weight is “{names[0][:60]}”). {draws}"
