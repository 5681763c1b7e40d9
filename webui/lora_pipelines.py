"""diffusers' pipelines, which know the layouts of LoRAs; importing them takes a while.

A LoRA is read for a loaded model, so ``webui.libraries`` has been imported by then.
"""

from __future__ import annotations

from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

__all__ = ["DDIMScheduler", "StableDiffusionPipeline", "StableDiffusionXLPipeline"]
