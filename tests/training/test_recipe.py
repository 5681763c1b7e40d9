"""Recipes: values that are checked, learning rates, presets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from webui.errors import BadField
from webui.training.recipe import (
    PRESETS,
    Recipe,
    last_step,
    parse_rate,
    preset,
    rate_advice,
    rate_at,
)


def test_a_recipe_survives_json():
    recipe = Recipe(kind="style", templates=("by [name]",), rate="0.01:10, 1e-3")
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_an_unknown_setting_is_named():
    with pytest.raises(BadField) as caught:
        Recipe.from_dict({"step": 3})
    assert caught.value.field == "step"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", "many"),
        ("batch", 65),
        ("vectors", 17),
        ("kind", "song"),
        ("optimizer", "adamw8bit"),
        ("captions", "none"),
        ("precision", "fp8"),
        ("caption_dropout", 1.1),
        ("tag_dropout", -0.1),
        ("rate", "fast"),
        ("rate", "0"),
        ("rate", "nan"),
        ("rate", "0.1:5, 0.2:5"),
        ("rate", "0.1, 0.2:5"),
    ],
)
def test_values_out_of_range_are_refused_by_field(field: str, value: object):
    with pytest.raises(BadField) as caught:
        Recipe(**{field: value})
    assert caught.value.field == field


def test_the_rate_takes_schedules_as_automatic1111_writes_them():
    assert parse_rate("0.005:100, 1e-3:1000, 1e-5") == ((0.005, 100), (0.001, 1000), (1e-5, -1))
    recipe = Recipe(rate="0.1:2, 0.01:4", cosine=False, warmup=0)
    assert [rate_at(recipe, step) for step in (1, 2, 3, 4)] == [0.1, 0.1, 0.01, 0.01]
    assert last_step(recipe) == 4  # the schedule ends the run


def test_the_rate_rises_at_first_and_falls_to_nearly_nothing():
    recipe = Recipe(rate="0.04", warmup=10, steps=100)
    rates = [rate_at(recipe, step) for step in range(1, 101)]
    assert rates[0] < 0.005 and 0.03 < max(rates) <= 0.04 and rates[-1] < 1e-4


def test_the_rate_does_not_depend_on_batch_or_accumulation():
    small, large = Recipe(batch=1), Recipe(batch=8, accumulation=4)
    assert rate_at(small, 50) == rate_at(large, 50)


@pytest.mark.parametrize("family", ["starter", "sd1", "sd2", "sdxl"])
def test_every_preset_is_a_recipe_for_every_family(family: str):
    assert list(PRESETS) == [
        "draft",
        "object",
        "person",
        "style",
        "negative",
        "classic",
        "low_vram",
    ]
    for key in PRESETS:
        recipe = preset(key, family)
        assert last_step(recipe) > 0 and not recipe.flip, key
        assert rate_advice(recipe) is None, key


@pytest.mark.parametrize("optimizer", ["adamw", "directional"])
def test_a_rate_at_which_nothing_can_be_learned_is_told(optimizer: str):
    recipe = Recipe(optimizer=optimizer, rate="1e-6", steps=1600)
    assert "Hardly anything will be learned" in rate_advice(recipe)
    assert rate_advice(replace(recipe, rate="5e-4")) is None
    assert rate_advice(replace(recipe, rate="5e-4", steps=10))
    assert rate_advice(replace(recipe, rate="5e-4:10, 1e-7")), "most of it at the lower rate"


def test_the_usual_recipe_holds_the_norm_and_flips_nothing():
    recipe = preset("object", "sd1")
    assert recipe.optimizer == "directional" and not recipe.flip
    assert (recipe.steps, recipe.batch, recipe.rate, recipe.pull) == (500, 4, "0.04", 1e-4)


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(BadField, match="draft, object"):
        preset("best", "sd1")
