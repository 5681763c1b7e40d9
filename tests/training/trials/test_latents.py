"""Each crop is encoded once for a VAE."""

from __future__ import annotations

import pytest
import torch

from tests.training.conftest import tiny_model
from tests.training.picture_parts import as_picture, scene
from webui.models.model import Model
from webui.training.crops import make_crops
from webui.training.denoising import encode_crop
from webui.training.trials import latents
from webui.training.trials.latents import LatentCache


def test_a_crop_is_encoded_once_for_each_vae_as_long_as_there_is_room(
    model: Model, monkeypatch: pytest.MonkeyPatch
):
    asked: list[Model] = []
    monkeypatch.setattr(
        latents,
        "encode_crop",
        lambda model, crop: (asked.append(model), encode_crop(model, crop))[1],
    )
    monkeypatch.setattr(latents, "MOST", 2)
    crops = make_crops([as_picture(scene(number, 40), f"{number}") for number in range(3)], 32)
    cache, other = LatentCache(), tiny_model(seed=1)
    first = cache.moments(model, crops[0])
    assert all(map(torch.equal, first, encode_crop(model, crops[0])))
    again = make_crops([as_picture(scene(0, 40), "renamed")], 32)[0]
    assert cache.moments(model, again) is first and len(asked) == 1
    assert cache.moments(other, crops[0]) is not first and len(asked) == 2
    for crop in (*crops[1:], crops[0]):
        cache.moments(model, crop)
    assert len(asked) == 5, "the oldest made room"
