"""Latents are enlarged to the size asked for, and cut at the middle where proportions differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.generation.test_esrgan import compact_network
from webui.generation.upscaling import UPSCALERS, list_upscalers, upscale, upscaler_name
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


def test_a_network_of_a_file_enlarges_to_any_size(tiny_model: Model, tmp_path: Path):
    (tmp_path / "ESRGAN").mkdir()
    save_file(compact_network(strength=0), tmp_path / "ESRGAN" / "2x_Plain.safetensors")
    (tmp_path / "ESRGAN" / "notes.txt").write_text("no network")
    files = list_upscalers(tmp_path, tmp_path / "missing")
    assert list(files) == ["2x_Plain"]
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    scale = tiny_model.latent_scale
    drawn = upscale(tiny_model, latents, "2x_Plain", 20 * scale, 20 * scale, files)
    plain = upscale(tiny_model, latents, "Nearest", 16 * scale, 16 * scale)
    exact = upscale(tiny_model, latents, "2x_Plain", 16 * scale, 16 * scale, files)
    assert drawn.shape == (1, 4, 20, 20)
    assert torch.allclose(exact, plain, atol=1e-4)


def test_names_of_other_programs_are_understood():
    assert upscaler_name("Latent Bicubic") == "Latent (bicubic)"
    assert upscaler_name("4x-UltraSharp") == "4x-UltraSharp"
