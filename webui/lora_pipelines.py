"""What knows the layouts of LoRAs, diffusers' pipelines and peft's layers; it takes a while.

A LoRA is read for a loaded model, so ``webui.libraries`` has been imported by then.
"""

from __future__ import annotations

from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from peft.tuners.tuners_utils import BaseTunerLayer

__all__ = [
    "BaseTunerLayer",
    "DDIMScheduler",
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
]
