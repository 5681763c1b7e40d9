"""Where on the images the thing is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from starter.concepts import OBJECTS, training_pictures
from tests.training.conftest import tiny_model
from webui.errors import BadField
from webui.models.catalog import STARTER, find_checkpoint
from webui.models.loader import load
from webui.models.model import Model
from webui.settings import Settings
from webui.training.crops import Crop, make_crops
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop
from webui.training.recipe import Recipe
from webui.training.trials.where import soft_mask, with_soft_mask


@pytest.fixture
def crop(picture_files: Callable) -> Crop:
    return make_crops(read_pictures(picture_files(3)), 32)[0]


@pytest.mark.parametrize("family", ["starter", "sdxl"])
def test_a_mask_is_as_large_as_the_crop_and_the_same_each_time(family: str, crop: Crop):
    model = tiny_model(family)
    moments = encode_crop(model, crop)
    before = [each.clone() for each in model.unet.parameters()]
    mask = soft_mask(model, crop, moments, "grey cat")
    assert mask.mode == "L" and mask.size == crop.image.size
    values = np.asarray(mask)
    assert values.min() < 12 and values.max() > 240
    assert np.array_equal(values, np.asarray(soft_mask(model, crop, moments, "grey cat")))
    assert not np.array_equal(values, np.asarray(soft_mask(model, crop, moments, "boat")))
    assert all(
        torch.equal(one, other) for one, other in zip(before, model.unet.parameters(), strict=True)
    )
    assert not any(module._forward_hooks for module in model.unet.modules())


def test_a_crop_with_a_mask_keeps_it_and_words_without_tokens_are_refused(model: Model, crop: Crop):
    own = Crop(0, crop.image, Image.new("L", crop.image.size, 255))
    recipe = Recipe(find_thing=True)
    assert with_soft_mask(model, recipe, own, "cat").mask is own.mask
    assert with_soft_mask(model, Recipe(), crop, "cat").mask is None
    found = with_soft_mask(model, recipe, crop, "cat", encode_crop(model, crop)).mask
    assert found is not None and np.asarray(found).min() >= 12, "the rest still counts a little"
    plain = with_soft_mask(model, replace(recipe, background="plain"), crop, "cat").mask
    assert plain is not None and np.asarray(plain).min() < 12
    with pytest.raises(BadField):
        soft_mask(model, crop, encode_crop(model, crop), " ")


@pytest.mark.slow
def test_the_starter_model_sees_a_thing_that_it_has_no_word_for_by_the_nearest_word():
    model = load(
        find_checkpoint(Settings().models_dir, STARTER), torch.device("cpu"), torch.float32
    )
    toadstool = next(concept for concept in OBJECTS if concept.name == "toadstool")
    for image, _ in training_pictures(toadstool)[:2]:
        crop = Crop(0, image.convert("RGB"), None)
        values = np.asarray(soft_mask(model, crop, encode_crop(model, crop), "mushroom"), float)
        corners = [values[:40, :40], values[:40, -40:], values[-40:, :40], values[-40:, -40:]]
        red = np.asarray(crop.image, int)
        thing = (red[..., 0] > 180) & (red[..., 1] < 80) & (red[..., 2] < 80)
        assert values[thing].mean() > 3 * np.mean([each.mean() for each in corners])
