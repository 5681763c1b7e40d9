"""Latents are enlarged to the size asked for, and cut at the middle where proportions differ."""

from __future__ import annotations

import pytest
import torch

from webui.generation.upscaling import UPSCALERS, upscale
from webui.models.model import Model


@pytest.mark.parametrize("upscaler", UPSCALERS)
def test_every_upscaler_gives_the_size_asked_for(tiny_model: Model, upscaler: str):
    latents = torch.randn(2, 4, 8, 8)
    scale = tiny_model.latent_scale
    large = upscale(tiny_model, latents, upscaler, 16 * scale, 24 * scale)
    assert large.shape == (2, 4, 24, 16) and large.is_contiguous()


def test_the_middle_of_the_picture_stays_the_middle(tiny_model: Model):
    latents = torch.zeros(1, 4, 8, 8)
    latents[..., 3:5, 3:5] = 1
    scale = tiny_model.latent_scale
    wide = upscale(tiny_model, latents, "Latent (nearest)", 32 * scale, 16 * scale)
    marked = wide[0, 0].nonzero()
    assert marked.min(dim=0).values.tolist() == [4, 12]
    assert marked.max(dim=0).values.tolist() == [11, 19]
