"""Presets: recipes for one purpose each."""

from __future__ import annotations

import pytest

from webui.errors import BadField
from webui.training.presets import PRESETS, preset
from webui.training.recipe import last_step, learning_rate_advice


@pytest.mark.parametrize("family", ["starter", "sd1", "sd2", "sdxl"])
def test_every_preset_is_a_recipe_for_every_family(family: str):
    assert list(PRESETS) == [
        "draft",
        "object",
        "person",
        "pivotal",
        "style",
        "negative",
        "classic",
        "low_vram",
    ]
    for key in PRESETS:
        recipe = preset(key, family)
        assert last_step(recipe) > 0 and not recipe.flip, key
        assert learning_rate_advice(recipe) is None, key


def test_the_usual_recipe_holds_the_norm_and_flips_nothing():
    recipe = preset("object", "sd1")
    assert recipe.optimizer == "directional" and not recipe.flip
    assert (recipe.steps, recipe.batch_size, recipe.learning_rate, recipe.prior_weight) == (
        500,
        4,
        "0.04",
        1e-4,
    )


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(BadField, match="draft, object"):
        preset("best", "sd1")
