"""Controls of the recipe show and read what it declares."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr
import pytest

from webui.errors import BadField
from webui.training.presets import preset
from webui.training.recipe import SETTINGS, Recipe
from webui.ui.train import recipe_controls


def test_every_setting_of_a_recipe_has_a_control_that_reads_what_it_shows():
    with gr.Blocks():
        controls = recipe_controls.make()
    assert {*controls, "crop_positions"} == set(SETTINGS)
    recipe = replace(preset("style", "starter"), templates=("by [name]", "[name]"), flip=True)
    shown = {name: recipe_controls.shown(recipe, name) for name in controls}
    assert Recipe(**recipe_controls.read(shown)) == recipe
    for name in ("optimizer", "warmup_steps", "min_snr_gamma", "mixed_precision"):
        assert controls[name].info, f"{name} explains itself"


def test_a_number_that_was_taken_out_is_asked_for_at_its_control():
    shown = {name: recipe_controls.shown(Recipe(), name) for name in recipe_controls.SHOWN}
    with pytest.raises(BadField) as refused:
        recipe_controls.read({**shown, "steps": None})
    assert refused.value.field == "steps"
