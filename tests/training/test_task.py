"""What a run computes with: precision and sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from webui.models.model import Model
from webui.training.recipe import Recipe
from webui.training.task import half_of, precision_advice


@pytest.mark.parametrize(
    ("precision", "half"),
    [("auto", None), ("fp32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_a_float32_unet_computes_as_it_is_asked_to(model: Model, precision: str, half: object):
    recipe = Recipe(precision=precision)
    assert half_of(recipe, model) == half
    assert half_of(recipe, replace(model, dtype=torch.bfloat16)) is None, "as it is loaded"


def test_a_precision_that_the_loaded_model_does_not_have_is_told(model: Model):
    half = replace(model, dtype=torch.bfloat16)
    assert "--precision fp32" in precision_advice(Recipe(precision="fp32"), half)
    assert precision_advice(Recipe(precision="bf16"), half) is None
    assert precision_advice(Recipe(), half) is None
    assert precision_advice(Recipe(precision="fp16"), model) is None
