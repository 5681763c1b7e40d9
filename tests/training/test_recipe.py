"""Recipes: values that are checked, names of earlier versions, learning rates."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.field_tables import DOCS, recipe_table, written
from webui.errors import BadField
from webui.training.recipe import (
    Recipe,
    last_step,
    learning_rate_advice,
    learning_rate_at,
    parse_learning_rate,
)


def test_a_recipe_survives_json():
    recipe = Recipe(kind="style", templates=("by [name]",), learning_rate="0.01:10, 1e-3")
    negative = Recipe(kind="negative", guidance_scale=4)
    for each in (recipe, negative):
        assert Recipe.from_dict(json.loads(json.dumps(each.to_dict()))) == each


def test_an_unknown_setting_is_named():
    with pytest.raises(BadField) as caught:
        Recipe.from_dict({"step": 3})
    assert caught.value.field == "step"


def test_a_recipe_of_an_earlier_version_is_read():
    old = {
        "kind": "style", "vectors": 4, "optimizer": "adamw", "rate": "2e-3", "warmup": 0,
        "cosine": False, "pull": 5e-05, "steps": 400, "batch": 1, "accumulation": 4, "clip": 0.5,
        "min_snr": 5, "captions": "filewords", "templates": [], "append_initializer": False,
        "caption_dropout": 0.0, "tag_dropout": 0.0, "shuffle_tags": False, "size": 256,
        "buckets": False, "crops": 4, "places": [-1, 0.5], "flip": False, "use_mask": False,
        "precision": "bf16", "gradient_checkpointing": True, "seed": 7, "evaluate_every": 25,
        "evaluation_tuples": 16, "hold_out": True, "stop_early": True, "preview_every": 100,
        "preview_prompts": ["a house in the style of [name]"],
    }  # fmt: skip
    recipe = Recipe.from_dict(old)
    assert recipe == Recipe(
        kind="style", vectors=4, optimizer="adamw", learning_rate="2e-3", warmup_steps=0,
        lr_scheduler="constant", prior_weight=5e-5, steps=400, batch_size=1,
        gradient_accumulation_steps=4, max_grad_norm=0.5, min_snr_gamma=5,
        caption_mode="filewords", resolution=256, crops=4, crop_positions=(-1, 0.5),
        use_mask=False, mixed_precision="bf16", gradient_checkpointing=True, seed=7,
        stop_early=True, preview_prompts=("a house in the style of [name]",),
    )  # fmt: skip


def test_the_documentation_has_the_settings_as_they_are_declared():
    text = (DOCS / "training.md").read_text(encoding="utf-8")
    assert text == written(text, recipe_table()), "run python -m tests.field_tables"


def test_logging_decides_nothing_that_is_learned():
    assert Recipe(tensorboard=True) == Recipe()
    assert "tensorboard" in Recipe().to_dict() and "tensorboard" not in Recipe().decisive()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", "many"),
        ("batch_size", 65),
        ("vectors", 17),
        ("kind", "song"),
        ("optimizer", "adamw8bit"),
        ("caption_mode", "none"),
        ("mixed_precision", "fp8"),
        ("caption_dropout", 1.1),
        ("tag_dropout", -0.1),
        ("learning_rate", "fast"),
        ("learning_rate", "0"),
        ("learning_rate", "nan"),
        ("learning_rate", "0.1:5, 0.2:5"),
        ("learning_rate", "0.1, 0.2:5"),
    ],
)
def test_values_out_of_range_are_refused_by_field(field: str, value: object):
    with pytest.raises(BadField) as caught:
        Recipe(**{field: value})
    assert caught.value.field == field


def test_the_rate_takes_schedules_as_automatic1111_writes_them():
    assert parse_learning_rate("0.005:100, 1e-3:1000, 1e-5") == (
        (0.005, 100),
        (0.001, 1000),
        (1e-5, -1),
    )
    recipe = Recipe(learning_rate="0.1:2, 0.01:4", lr_scheduler="constant", warmup_steps=0)
    assert [learning_rate_at(recipe, step) for step in (1, 2, 3, 4)] == [0.1, 0.1, 0.01, 0.01]
    assert last_step(recipe) == 4  # the schedule ends the run


def test_the_rate_rises_at_first_and_falls_to_nearly_nothing():
    recipe = Recipe(learning_rate="0.04", warmup_steps=10, steps=100)
    rates = [learning_rate_at(recipe, step) for step in range(1, 101)]
    assert rates[0] < 0.005 and 0.03 < max(rates) <= 0.04 and rates[-1] < 1e-4


def test_the_rate_does_not_depend_on_batch_or_accumulation():
    small, large = Recipe(batch_size=1), Recipe(batch_size=8, gradient_accumulation_steps=4)
    assert learning_rate_at(small, 50) == learning_rate_at(large, 50)


@pytest.mark.parametrize("optimizer", ["adamw", "directional"])
def test_a_rate_at_which_nothing_can_be_learned_is_told(optimizer: str):
    recipe = Recipe(optimizer=optimizer, learning_rate="1e-6", steps=1600)
    assert "Hardly anything will be learned" in learning_rate_advice(recipe)
    assert learning_rate_advice(replace(recipe, learning_rate="5e-4")) is None
    assert learning_rate_advice(replace(recipe, learning_rate="5e-4", steps=10))
    assert learning_rate_advice(replace(recipe, learning_rate="5e-4:10, 1e-7")), (
        "most of it at the lower rate"
    )
