"""Everything of diffusers, transformers and accelerate that the app uses, imported in one place.

Their modules import one another in circles, so two threads that enter at different places are
handed modules that are half there: "cannot import name …". Here the second thread waits until the
first has imported all.
"""

from __future__ import annotations

from accelerate import init_empty_weights
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.upsampling import Upsample2D
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_utils import AysSchedules
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

__all__ = [
    "Attention",
    "AutoencoderKL",
    "AysSchedules",
    "CLIPTextConfig",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPTokenizer",
    "DDPMScheduler",
    "UNet2DConditionModel",
    "Upsample2D",
    "init_empty_weights",
]
