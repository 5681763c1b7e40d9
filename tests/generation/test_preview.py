"""Latents become pictures and back; previews of a large VAE are near what it decodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from webui.generation import preview
from webui.generation.preview import Previewer, decode, encode
from webui.models.model import Model


def test_equal_pictures_have_equal_latents_of_their_size(tiny_model: Model):
    pictures = decode(tiny_model, torch.randn(2, 4, 8, 6))
    side = tiny_model.latent_scale
    assert [picture.size for picture in pictures] == [(6 * side, 8 * side)] * 2
    latents = encode(tiny_model, [*pictures, pictures[0]])
    assert latents.shape == (3, 4, 8, 6) and latents.dtype == torch.float32
    torch.testing.assert_close(latents[0], latents[2])


def test_a_small_vae_decodes_its_previews_itself(tiny_model: Model):
    latents = torch.randn(4, 8, 8)
    shown = Previewer(tiny_model)(latents)
    assert np.array_equal(np.asarray(shown), np.asarray(decode(tiny_model, latents[None])[0]))


def test_previews_of_a_large_vae_have_its_size_and_about_its_colours(
    tiny_model: Model, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(preview, "_SMALL_VAE", 0)
    latents = torch.randn(4, 8, 8)
    shown = np.asarray(Previewer(tiny_model)(latents), dtype=float)
    whole = np.asarray(decode(tiny_model, latents[None])[0], dtype=float)
    assert shown.shape == whole.shape
    assert np.abs(shown.mean(axis=(0, 1)) - whole.mean(axis=(0, 1))).max() < 40
