"""Load a checkpoint from the disk; nothing here ever asks the network."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from webui.devices.choice import allow_tf32
from webui.errors import AppError
from webui.models.catalog import Checkpoint, separate_vae
from webui.models.diffusers_folder import load_folder
from webui.models.hashes import HASH_CACHE, short_hash
from webui.models.model import Model
from webui.models.offloading import Offloading
from webui.models.single_file import load_single_file

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

TILE_SIZE = 512
"""Sides in pixels up to which the VAE decodes a picture whole when memory is scarce."""


def load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    *,
    hash_cache: Path = HASH_CACHE,
    offload: str = "none",
    report: Callable[[float], None] = lambda share: None,
) -> Model:
    """Read a checkpoint into memory and put it on ``device``, ready to draw and to train on.

    The UNet takes ``dtype``, and so does the VAE's decoder if that is bfloat16; in float16 VAEs are
    known to overflow. What training looks through, the text encoders and the VAE's encoder, stays
    in float32. All parts are frozen. A VAE file that goes with the checkpoint takes the place of
    its own (see ``catalog.separate_vae``). ``hash_cache`` remembers hashes of large files.
    ``offload``, one of ``OFFLOADS``, acts on CUDA devices only. ``report`` is told which part of
    the weights, 0 to 1, has been read.
    Raises AppError if the checkpoint is not one the app can use, or does not fit into memory.
    """
    import torch

    allow_tf32(device, dtype)
    offload = offload if device.type == "cuda" else "none"
    place = device if offload == "none" else torch.device("cpu")
    vae_file = separate_vae(checkpoint)
    if vae_file is not None:
        log.info("%s is loaded with the VAE %s.", checkpoint.name, vae_file.name)
    try:
        if checkpoint.is_folder:
            model = load_folder(checkpoint, place, dtype, vae_file, hash_cache, report)
        else:
            model = load_single_file(
                checkpoint, place, dtype, vae_file=vae_file, hash_cache=hash_cache, report=report
            )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise AppError(
            f"{checkpoint.name} does not fit into the memory of {device}. Close other programs "
            "that use it, or start the app with --offload sequential, --precision fp16 or "
            "--device cpu."
        ) from error
    if vae_file is not None:
        hashed = short_hash(vae_file, hash_cache)
        model = replace(model, vae_name=vae_file.name, vae_hash=hashed)
    if dtype == torch.bfloat16:
        decode_in(model, dtype)
    return offloaded(model, device, offload)


def decode_in(model: Model, dtype: torch.dtype) -> None:
    """Put the part of the VAE that makes pictures of latents into a precision."""
    for part in (model.vae.post_quant_conv, model.vae.decoder):
        if part is not None:
            part.to(dtype)


def offloaded(model: Model, device: torch.device, offload: str) -> Model:
    """Arrange for the networks of a model in main memory to compute on ``device``.

    ``offload`` is one of ``OFFLOADS``; with ``sequential`` the VAE also decodes large pictures
    tile by tile. The vocabularies of the text encoders are on the device all the time: they are
    looked up by all sorts of callers, and small.
    """
    if offload == "none":
        return model
    offloading = Offloading(device)
    vae = model.vae
    if offload == "sequential":
        for number, encoder in enumerate(model.text_encoders, start=1):
            offloading.add_blocks(f"text_encoder_{number}", encoder.model, encoder.vocabulary)
        offloading.add_blocks("unet", model.unet)
        offloading.add_blocks("vae", vae)
        vae.enable_slicing()
        vae.enable_tiling()
        vae.tile_sample_min_size = TILE_SIZE
        vae.tile_latent_min_size = TILE_SIZE // model.latent_scale
    else:
        for number, encoder in enumerate(model.text_encoders, start=1):
            offloading.add(
                f"text_encoder_{number}",
                encoder.model,
                [encoder.clip.embeddings],
                encoder.vocabulary,
            )
        offloading.add("unet", model.unet, [model.unet])
        called = (vae.encoder, vae.decoder, vae.quant_conv, vae.post_quant_conv)
        offloading.add("vae", vae, [module for module in called if module is not None])
    return replace(model, device=device, offloading=offloading)
