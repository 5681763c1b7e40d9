"""A loaded checkpoint: the parts of Stable Diffusion, and what to know about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from webui.models.offloading import Offloading


@dataclass(frozen=True)
class TextEncoder:
    """One text encoder of a model, and where its conditioning is taken from."""

    key: str
    """clip_l (SD 1.x and the starter model), clip_h (SD 2.x) or clip_g (second one of SDXL): the
    name under which an embedding file keeps its vectors for this encoder."""
    model: CLIPTextModel | CLIPTextModelWithProjection
    skipped_layers: int = 0
    """Layers left out at the end: 0 for SD 1.x, 1 (the penultimate) for SD 2.x and SDXL."""
    final_norm: bool = True
    """Whether the final layer norm is applied after the last layer used (SDXL: no)."""

    @property
    def width(self) -> int:
        """Length of one vector, e.g. 768."""
        return self.model.config.hidden_size


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
    """Precision of the UNet; the VAE and the text encoders stay in float32 on a CPU."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Hints of the checkpoint: width, height, steps, cfg_scale, sampler, example_prompts."""
    offloading: Offloading | None = None
    """Brings the parts to ``device`` when they compute; None if they are there all the time."""

    @property
    def widths(self) -> dict[str, int]:
        """Vector width each text encoder takes, e.g. ``{"clip_l": 768}``."""
        return {encoder.key: encoder.width for encoder in self.text_encoders}

    @property
    def prediction_type(self) -> str:
        """What the UNet predicts: epsilon or v_prediction."""
        return self.scheduler_config.get("prediction_type", "epsilon")

    @property
    def latent_scale(self) -> int:
        """Pixels per latent along one side, e.g. 8."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)
