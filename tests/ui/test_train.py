"""What the Train tab shows of a run, of its kept steps and of the crops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from webui.errors import BadField
from webui.job_state import JobState
from webui.training.dataset import read_picture
from webui.training.presets import preset
from webui.training.recipe import SETTINGS, Recipe
from webui.training.runs.run_folder import Run, Status
from webui.training.runs.run_state import RunSnapshot, RunState
from webui.ui.train import recipe_controls
from webui.ui.train.checkpoints import _show
from webui.ui.train.crops import crops_of, movable, shape_in
from webui.ui.train.watch import DRAWN, FIXED, _curve


@pytest.fixture
def view_of(tmp_path: Path) -> Callable[..., RunSnapshot]:
    """Return the view of a run with these step losses and gains, kept at the gains' steps."""

    def make(losses: list[float], gains: dict[int, float], state: str = "training") -> RunSnapshot:
        recipe = Recipe(steps=len(losses), preview_every=0)
        run = Run.create(tmp_path / "train", "my-mug", "mug", recipe, (), ("tiny", "0" * 10))
        (run.folder / "checkpoints").mkdir()
        for step, loss in enumerate([None, *losses]):
            values = {"step": step, "rate": 0.04, "norm_ratio": 1.0}
            if loss is not None:
                run.log_event({"kind": "step", "loss": loss, **values})
            if step in gains:
                gain = gains[step]
                best = gain == max(value for at, value in gains.items() if at <= step)
                measured = {"loss": 0.2 * (1 - gain), "gain": gain, "best": best}
                run.log_event({"kind": "evaluation", **measured, **values})
                (run.folder / "checkpoints" / f"step-{step:06d}.safetensors").touch()
        run.set_status(Status(JobState(state)))
        return RunState(run).view()

    return make


def test_progress_is_read_off_fixed_inputs_whatever_the_steps_draw(view_of: Callable):
    view = view_of([0.2, 0.2, 0.3, 0.3], {0: 0.0, 2: 0.1, 4: 0.2})
    curve = _curve(view)
    fixed = curve[curve["measured_on"] == FIXED]
    assert list(zip(fixed["step"], fixed["gain"], strict=True)) == [(0, 0), (2, 10), (4, 20)]
    drawn = curve[curve["measured_on"] == DRAWN]
    assert drawn["step"].tolist() == [2, 4]
    assert drawn["gain"].tolist() == pytest.approx([0, -50]), "their loss rises, and that is chance"


def test_kept_steps_can_be_looked_through_while_the_run_goes_on(view_of: Callable):
    view = view_of([0.2] * 6, {0: 0.0, 2: 0.3, 4: 0.1, 6: 0.2})
    whole, slider, said, _, _ = _show(view, "", 0)
    assert whole["visible"] and slider["value"] == 2 and "2 of 6" in said
    assert (slider["minimum"], slider["maximum"], slider["step"]) == (0, 6, 2)


def test_a_slider_that_was_moved_stays_where_it_is_when_steps_are_added(view_of: Callable):
    view = view_of([0.2] * 6, {0: 0.0, 2: 0.3, 4: 0.1, 6: 0.2})
    _, slider, said, _, row = _show(view, view.run_id, 4)
    assert "value" not in slider and "4 of 6" in said and "visible" not in row
    assert _show(view, "another run", 4)[1]["value"] == 2


def test_one_kept_step_needs_no_slider(view_of: Callable):
    assert _show(view_of([0.2], {0: 0.0}), "", 0)[0]["visible"] is False
    assert _show(None, "", 0)[0]["visible"] is False


def test_crops_are_shown_in_the_shape_they_will_have(tmp_path: Path):
    path = tmp_path / "wide.png"
    Image.effect_noise((300, 100), 50).convert("RGB").save(path)
    pictures = {0: read_picture(path)}
    square, wide = (lambda picture: 1.0), (lambda picture: 3.0)
    assert crops_of(pictures, [], square)["value"][0][0].size == (256, 256)
    assert movable(pictures, square) == [("wide.png", 0)]
    assert crops_of(pictures, [], wide)["value"][0][0].size == (256, 85)
    assert not movable(pictures, wide)


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


def test_without_a_model_crops_are_squares(studio):
    assert shape_in(studio, True)(None) == 1.0
