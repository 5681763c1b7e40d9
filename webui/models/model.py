"""A loaded checkpoint: the parts of Stable Diffusion, and what to know about them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from webui.errors import AppError
from webui.models.catalog import Checkpoint
from webui.models.families import FAMILIES, family_of_widths
from webui.models.hashes import HASH_CACHE, short_hash

if TYPE_CHECKING:
    import torch
    from torch import nn

    from webui.devices.compiling import Compiled
    from webui.libraries import (
        AutoencoderKL,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        UNet2DConditionModel,
    )
    from webui.models.offloading import Offloading

ClipModel: TypeAlias = "CLIPTextModel | CLIPTextModelWithProjection"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextEncoder:
    """One text encoder of a model, and where its conditioning is taken from."""

    key: str
    """clip_l (SD 1.x and the starter model), clip_h (SD 2.x) or clip_g (second one of SDXL): the
    name under which an embedding file keeps its vectors for this encoder."""
    model: ClipModel
    skipped_layers: int = 0
    """Layers left out at the end: 0 for SD 1.x, 1 (the penultimate) for SD 2.x and SDXL."""
    final_norm: bool = True
    """Whether the final layer norm is applied after the last layer used (SDXL: no)."""

    @property
    def width(self) -> int:
        """Length of one vector, e.g. 768."""
        return self.clip.config.hidden_size

    @property
    def clip(self) -> CLIPTextModel:
        """The encoder without the projection that follows it in SDXL."""
        inner: Any = getattr(self.model, "text_model", self.model)
        return cast("CLIPTextModel", inner)

    @property
    def vocabulary(self) -> nn.Embedding:
        """The vectors of all tokens, ``weight [49408, width]``."""
        return cast("nn.Embedding", self.model.get_input_embeddings())


@dataclass(frozen=True)
class Model:
    """The parts of one checkpoint on one device. Loaded by ``webui.models.loader``."""

    name: str
    """Name as people see it: the folder's or file's, without an extension."""
    path: Path
    short_hash: str
    """First 10 hex digits of the SHA-256 of the weights, as AUTOMATIC1111 writes it."""
    family: str
    """A key of ``webui.models.families.FAMILIES``: starter, sd1, sd2 or sdxl."""
    tokenizer: CLIPTokenizer
    text_encoders: tuple[TextEncoder, ...]
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler_config: dict[str, Any]
    """As in scheduler_config.json: betas, prediction_type, timestep_spacing, …"""
    device: torch.device
    dtype: torch.dtype
    """Precision of the UNet; text encoders and the VAE's encoder stay in float32."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Hints of the checkpoint: width, height, steps, cfg_scale, sampler, example_prompts."""
    vae_name: str | None = None
    """File name of the VAE that took the place of the checkpoint's own, if one did."""
    vae_hash: str | None = None
    """Its short hash."""
    offloading: Offloading | None = None
    """Brings the parts to ``device`` when they compute; None if they are there all the time."""
    compiled: Compiled | None = None
    """Compiles the UNet in the background; None if it draws, and learns, as it is."""

    @property
    def widths(self) -> dict[str, int]:
        """Vector width each text encoder takes, e.g. ``{"clip_l": 768}``."""
        return {encoder.key: encoder.width for encoder in self.text_encoders}

    @property
    def decoder_dtype(self) -> torch.dtype:
        """Precision of the VAE's decoder; that of its encoder is ``vae.dtype``."""
        return next(self.vae.decoder.parameters()).dtype

    def denoiser(self) -> Callable[..., Any]:
        """Return what predicts the noise of one batch: the UNet, or what is compiled of it."""
        if self.compiled is None or self.compiled.network is not self.unet:
            return self.unet
        return self.compiled.now()

    @property
    def prediction_type(self) -> str:
        """What the UNet predicts: epsilon or v_prediction."""
        return str(self.scheduler_config.get("prediction_type", "epsilon"))

    @property
    def latent_scale(self) -> int:
        """Pixels per latent along one side, e.g. 8."""
        return 1 << (len(self.vae.config["block_out_channels"]) - 1)


def assemble(
    checkpoint: Checkpoint,
    *,
    tokenizer: CLIPTokenizer,
    text_encoders: Sequence[ClipModel],
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    scheduler_config: dict[str, Any],
    weights: Path,
    device: torch.device,
    defaults: dict[str, Any] | None = None,
    hash_cache: Path = HASH_CACHE,
) -> Model:
    """Freeze the parts, move them to the device and join them into a Model.

    Raises AppError for text encoders of an unknown width.
    """
    networks: list[nn.Module] = [*text_encoders, unet, vae]
    for network in networks:
        network.requires_grad_(False).eval().to(device)
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


def _text_encoders(models: Sequence[ClipModel]) -> tuple[TextEncoder, ...]:
    """Name the text encoders and say which layer feeds the UNet."""
    if len(models) == 2:
        return (
            TextEncoder("clip_l", models[0], skipped_layers=1, final_norm=False),
            TextEncoder("clip_g", models[1], skipped_layers=1, final_norm=False),
        )
    wide = models[0].config.hidden_size == FAMILIES["sd2"].widths["clip_h"]
    # diffusers folders of SD 2.x leave the last layer out already, so the last one is penultimate.
    return (TextEncoder("clip_h" if wide else "clip_l", models[0]),)
