"""Load a checkpoint from one file in the original layout, with no network at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.models.catalog import STARTER, Checkpoint
from webui.models.hashes import HASH_CACHE
from webui.models.model import Model, assemble
from webui.models.parts import (
    build_text_encoders,
    build_unet,
    build_vae,
    load_vae,
    read_config,
    read_tokenizer,
)  # fmt: skip
from webui.models.recognition import CheckpointInfo, recognise
from webui.models.weights_file import counted, open_weights
from webui.settings import SHIPPED

if TYPE_CHECKING:
    import torch

    from webui.libraries import UNet2DConditionModel

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).resolve().parent / "configs"
"""A folder per family, laid out as in a diffusers checkpoint but without weights."""
STARTER_FOLDER = SHIPPED / "models" / STARTER
"""Has the tokenizer of all families, and the configs of its own."""
_SD2_BASE_SIZE = 512
"""Side of the pictures that the SD 2.x models predicting epsilon were trained at."""


def load_single_file(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    *,
    configs: Path | None = None,
    vae_file: Path | None = None,
    hash_cache: Path = HASH_CACHE,
    report: Callable[[float], None] = lambda share: None,
) -> Model:
    """Read a .safetensors or .ckpt of SD 1.x, SD 2.x or SDXL, weight by weight onto the device.

    ``configs`` is a diffusers folder whose config files take the place of the family's, for
    checkpoints of another size. ``vae_file`` takes the place of the VAE inside. ``report`` is told
    which part of the weights, 0 to 1, has been read.
    Raises AppError saying what is wrong with the file, or what it is if it is no such model.
    """
    with open_weights(checkpoint.path) as opened:
        weights = counted(opened, report)
        anatomy = recognise(weights, checkpoint.name)
        log.info("%s is %s.", checkpoint.name, _describe(anatomy))
        configs = configs or _configs_of(anatomy)
        if vae_file is None:
            vae = build_vae(weights, configs, device)
        else:
            vae = load_vae(vae_file, configs, device)
        encoders = build_text_encoders(weights, anatomy, configs, device)
        unet = build_unet(weights, anatomy, configs, device, dtype)
        scheduler = _scheduler(anatomy, configs, unet)
    return assemble(
        checkpoint,
        tokenizer=read_tokenizer(STARTER_FOLDER / "tokenizer", STARTER),  # all families share it
        text_encoders=encoders,
        unet=unet,
        vae=vae,
        scheduler_config=scheduler,
        weights=checkpoint.path,
        device=device,
        defaults=_defaults(anatomy, configs, scheduler),
        hash_cache=hash_cache,
    )


def _configs_of(anatomy: CheckpointInfo) -> Path:
    if anatomy.family.key == "starter":
        return STARTER_FOLDER
    return CONFIGS / anatomy.family.key


def _scheduler(
    anatomy: CheckpointInfo, configs: Path, unet: UNet2DConditionModel
) -> dict[str, Any]:
    """Return the family's noise schedule with what the file says about its prediction."""
    config = read_config(configs / "scheduler" / "scheduler_config.json")
    prediction = anatomy.prediction_type
    if prediction is None and anatomy.family.key == "sd2":
        prediction = "v_prediction" if _predicts_velocity(unet) else "epsilon"
        log.info("Asked by a trial run, its UNet predicts %s.", prediction)
    if prediction is not None:
        config["prediction_type"] = prediction
    if anatomy.zero_terminal_snr:
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return config


def _predicts_velocity(unet: UNet2DConditionModel) -> bool:
    """Find out by a trial run what an SD 2.x UNet predicts: True for v, False for epsilon.

    At the last timestep, where there is nearly nothing but noise, a UNet that predicts the noise
    returns about its input; one that predicts v, there about minus the picture, stays far below a
    constant input. The probe is AUTOMATIC1111's, with its numbers: 8×8 latents and conditioning
    of 0.5, and a mean difference of -1.
    """
    import torch

    latents = torch.full((1, 4, 8, 8), 0.5, device=unet.device, dtype=unet.dtype)
    context = latents.new_full((1, 2, unet.config["cross_attention_dim"]), 0.5)
    with torch.inference_mode():
        output = unet(latents, torch.tensor(999), context, return_dict=False)[0]
    # Not-a-number, as half precision may give, counts as v: most SD 2.x checkpoints predict it.
    return not bool((output.float() - latents.float()).mean() >= -1)


def _defaults(
    anatomy: CheckpointInfo, configs: Path, scheduler: Mapping[str, Any]
) -> dict[str, Any]:
    """Return hints for the page: those of the configs, and the smaller size of SD 2 base."""
    path = configs / "defaults.json"
    if path.exists():
        return read_config(path)
    if anatomy.family.key == "sd2" and scheduler.get("prediction_type") == "epsilon":
        return {"width": _SD2_BASE_SIZE, "height": _SD2_BASE_SIZE}
    return {}


def _describe(anatomy: CheckpointInfo) -> str:
    """Say for the log what a file is, e.g. ``SDXL, F16, pruned, v_prediction``."""
    if anatomy.only_ema:
        content = "EMA weights only"
    else:
        content = "with EMA weights, which are not used" if anatomy.with_ema else "pruned"
    facts = (anatomy.family.label, anatomy.precision, content, anatomy.prediction_type)
    return ", ".join(fact for fact in facts if fact)
