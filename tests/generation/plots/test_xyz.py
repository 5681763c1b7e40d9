"""A plot's cells are planned before anything is drawn, and errors name their field."""

from __future__ import annotations

from dataclasses import replace

import pytest

from webui.errors import AppError, BadField
from webui.generation.metadata.infotext import read_infotext, read_settings
from webui.generation.plots.axes import AXES
from webui.generation.plots.plan import Plan, PlotContext, TrainedRun
from webui.generation.plots.xyz import plan
from webui.generation.request import GenerationRequest

OFF = ("Nothing", "")
HERE = PlotContext(
    {"mood": False, "my (x)": False, "painting": True},
    ("starter", "sd/v1-5"),
    TrainedRun("run-1", "mug", (0, 50, 100)),
    vaes=("Automatic", "None", "kl-f8.safetensors"),
    upscalers=("4x-UltraSharp",),
    styles=("ink", "soft"),
    with_styles=lambda request: replace(
        request, prompt=", ".join([request.prompt, *request.styles]), styles=()
    ),
)


def planned(*axes: tuple[str, str], prompt: str = "a red heart", negative: str = "") -> Plan:
    request = GenerationRequest(prompt=prompt, negative_prompt=negative, seed=7, batch_count=3)
    return plan(request, [*axes, *[OFF] * (3 - len(axes))], HERE)


def prompts(*axes: tuple[str, str], **texts: str) -> list[str]:
    return [cell.request.prompt for cell in planned(*axes, **texts).cells]


def test_x_changes_fastest_and_z_slowest():
    cells = planned(("Steps", "5, 6"), ("CFG scale", "3, 4"), ("Seed", "1, 2")).cells
    found = [(c.request.steps, c.request.cfg_scale, c.request.seed) for c in cells]
    assert found[:3] == [(5, 3, 1), (6, 3, 1), (5, 4, 1)] and found[-1] == (6, 4, 2)
    assert {c.request.batch_count for c in cells} == {3}


def test_cells_share_a_drawn_seed_and_minus_one_on_the_axis_draws_others():
    request = GenerationRequest(prompt="a")
    cells = plan(request, [("Steps", "5-7"), OFF, OFF], HERE).cells
    assert len({c.request.seed for c in cells}) == 1 and cells[0].request.seed >= 0
    cells = plan(request, [("Seed", "-1, -1"), OFF, OFF], HERE).cells
    assert len({c.request.seed for c in cells}) == 2


def test_words_are_replaced_in_both_prompts():
    cells = planned(("Prompt S/R", 'red, "dark, green"'), negative="red star").cells
    assert [c.request.prompt for c in cells] == ["a red heart", "a dark, green heart"]
    assert cells[1].request.negative_prompt == "dark, green star"


def test_samplers_schedules_sizes_layers_and_models():
    sampler = planned(("Sampler", "euler A, DPM++ 2M Karras")).cells
    assert (sampler[0].request.sampler, sampler[1].request.schedule_type) == ("Euler a", "Karras")
    assert planned(("Schedule type", "karras")).cells[0].request.schedule_type == "Karras"
    assert planned(("Size", "64x128")).cells[0].request.height == 128
    assert [c.request.eta for c in planned(("Eta", "0, 0.5")).cells] == [0, 0.5]
    switched = planned(("Always discard next-to-last sigma", "true, False")).cells
    assert [c.request.leave_out_last_but_one for c in switched] == [True, False]
    assert planned(("SGM noise multiplier", "*")).labels[0][0] == "SGM noise multiplier: True"
    assert [c.request.rng for c in planned(("RNG source", "cpu, NV")).cells] == ["CPU", "NV"]
    assert planned(("Sigma max", "5")).cells[0].request.churn_high == 5
    assert planned(("Emphasis", "no norm")).cells[0].request.emphasis == "No norm"
    variations = planned(("Variation seed strength", "0, 0.5"), ("Variation seed", "8")).cells
    assert variations[1].request.subseed_strength == 0.5 and variations[1].request.subseed == 8
    assert planned(("Clip skip", "1-2")).cells[1].request.clip_skip == 2
    assert planned(("Checkpoint name", "SD/v1-5")).cells[0].checkpoint == "sd/v1-5"


def test_axes_go_by_automatic1111s_names_and_by_those_of_the_parameters():
    for name in ("CFG Scale", "cfg scale", "Var. seed", "Variation seed strength", "Denoising"):
        assert plan(
            GenerationRequest(prompt="a", hires=True, subseed_strength=0.1),
            [(name, "1"), OFF, OFF],
            HERE,
        )
    assert planned(("Variation seed strength", "0.5")).labels[0] == ("Var. strength: 0.5",)


def test_a_star_stands_for_all_values():
    assert planned(("Schedule type", "*")).cells[2].request.schedule_type == "Karras"
    assert [cell.vae for cell in planned(("VAE", "*")).cells] == list(HERE.vaes)


def test_vaes_styles_and_models_go_by_their_names():
    assert [cell.vae for cell in planned(("VAE", "none, kl-f8")).cells] == ["None", HERE.vaes[2]]
    assert prompts(("Styles", 'none, Ink, "soft, ink"')) == [
        "a red heart", "a red heart, ink", "a red heart, soft, ink",
    ]  # fmt: skip
    model = planned(("Checkpoint name", "sd/v1-5.safetensors [6ce0161689]")).cells
    assert model[0].checkpoint == "sd/v1-5"


def test_words_of_the_prompt_change_places():
    assert prompts(("Prompt order", "red, heart"), prompt="a red, heart") == [
        "a red, heart", "a heart, red",
    ]  # fmt: skip
    drawn = planned(("Prompt order", "a, b, c"), prompt="a < b < c")
    assert len(drawn.cells) == 6 and drawn.labels[0][5] == "c, b, a"
    assert drawn.cells[5].request.prompt == "c < b < a"


def test_an_empty_replacement_takes_words_out():
    assert prompts(("Prompt S/R", "red , "), prompt="a red heart") == ["a red heart", "a  heart"]


def test_the_second_pass_has_axes_of_its_own():
    request = GenerationRequest(prompt="a", hires=True)
    axes = [("Hires sampler", "Heun, DPM++ 2M Karras"), ("Hires upscaler", "4x-ultrasharp"), OFF]
    cells = plan(request, axes, HERE).cells
    assert cells[1].request.hires_sampler == "DPM++ 2M"
    assert [cell.request.hires_schedule_type for cell in cells][1] == "Karras"
    assert cells[0].request.hires_upscaler == "4x-UltraSharp"


def test_an_embedding_is_appended_or_put_at_the_marker():
    axis = ("Embedding", "none, mood, my (x), painting")
    assert prompts(axis) == [
        "a red heart", "a red heart, mood", r"a red heart, my \(x\)", "a red heart, <painting>",
    ]  # fmt: skip
    assert prompts(axis, prompt="a ({embedding}:1.2), heart")[:2] == [
        "a, heart",
        "a (mood:1.2), heart",
    ]
    assert planned(axis).pairs["Embedding placed"] == "at the end of the prompt"
    assert planned(axis, prompt="{embedding}, a").pairs["Embedding placed"] == "at {embedding}"
    negative = planned(axis, negative="{embedding}").cells
    assert [c.request.negative_prompt for c in negative][:2] == ["", "mood"]
    assert {c.request.prompt for c in negative} == {"a red heart"}


def test_the_strength_is_that_of_the_embedding_on_the_other_axis_or_the_first_called():
    strength = ("Embedding strength", "0.5, 1")
    assert prompts(strength, prompt="a mood, my \\(x\\)") == [
        "a (mood:0.5), my \\(x\\)", "a (mood:1), my \\(x\\)",
    ]  # fmt: skip
    assert prompts(strength, prompt="a (mood:1.3)")[0] == "a (mood:0.5)"
    assert prompts(strength, prompt="a <embedding:mood:1.3>")[0] == "a (<embedding:mood>:0.5)"
    both = prompts(strength, ("Embedding", "none, my (x)"), prompt="mood, a heart")
    assert both == [
        "(mood:0.5), a heart", "(mood:1), a heart",
        "mood, a heart, (my \\(x\\):0.5)", "mood, a heart, (my \\(x\\):1)",
    ]  # fmt: skip
    negative = planned(strength, negative="mood").cells
    assert negative[0].request.negative_prompt == "(mood:0.5)"


def test_steps_of_a_run_are_called_by_its_name():
    cells = planned(("Training step", "")).cells
    assert [c.training_step for c in cells] == [0, 50, 100]
    assert {c.request.prompt for c in cells} == {"a red heart, mug"}
    cells = planned(("Training step", "50"), ("Embedding strength", "2"), prompt="a mug").cells
    assert cells[0].request.prompt == "a (mug:2)"
    pairs = planned(("Training step", "50"), prompt="a mug").pairs
    assert pairs["Embedding placed"] == "where the prompts call it"


@pytest.mark.parametrize(
    ("axes", "field", "told"),
    [
        ([("Steps", "x")], "x_values", "neither a number"),
        ([("Steps", "500")], "x_values", "between 1 and 150"),
        ([OFF, ("Steps", "")], "y_values", "Enter values"),
        ([OFF, OFF, ("Size", "70x64")], "z_values", "multiple of 8"),
        ([("Size", "big")], "x_values", "no size"),
        ([("Sampler", "DPM leaping")], "x_values", "no sampler"),
        ([("Checkpoint name", "other")], "x_values", "no model"),
        ([("Embedding", "missing")], "x_values", "missing"),
        ([("Embedding strength", "1")], "x_values", "call no embedding"),
        ([("Training step", "70")], "x_values", "was not kept"),
        ([("Prompt order", "red, blue")], "x_values", "“blue” is not in the prompt"),
        ([("Prompt order", "a,r,e,d,h")], "x_values", "more orders than the 100 cells"),
        ([("VAE", "other")], "x_values", "no VAE"),
        ([("Styles", "other")], "x_values", "no style"),
        ([("Hires sampler", "Heun")], "x_values", "no effect without Hires. fix"),
        ([("Prompt S/R", "blue, red")], "x_values", "in neither prompt"),
        ([("Seed", "1"), ("Seed", "2")], "y_values", "together"),
        ([("Embedding", "mood"), OFF, ("Training step", "")], "z_values", "together"),
        ([("Steps", "1-11"), ("CFG scale", "1-10")], "x_values", "110 cells"),
        ([("Hires steps", "5, 9")], "x_values", "no effect without Hires. fix"),
        ([OFF, ("Variation seed", "5, 9")], "y_values", "without Variation strength"),
        ([("Hypernetwork", "a")], "x_values", "no axis"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_told_at_its_field(
    axes: list[tuple[str, str]], field: str, told: str
):
    with pytest.raises(BadField, match=told) as caught:
        planned(*axes)
    assert caught.value.field == field


def test_all_axes_that_cannot_be_used_are_told_at_once():
    with pytest.raises(BadField) as caught:
        planned(("Steps", "many"), ("CFG scale", "2, 3"), ("Seed", ""))
    assert list(caught.value.messages) == ["x_values", "z_values"]


def test_the_grids_parameters_say_what_was_plotted():
    pairs = planned(("Steps", "5, 6"), OFF, ("Seed", "1")).pairs
    assert pairs == {
        "Script": "X/Y/Z plot", "X Type": "Steps", "X Values": "5, 6",
        "Z Type": "Seed", "Z Values": "1",
    }  # fmt: skip
    drawn = planned(("Seed", "-1, 4"))
    assert drawn.pairs["Fixed X Values"] == ", ".join(str(c.request.seed) for c in drawn.cells)
    _, found = read_infotext(
        "a\nSteps: 5, Sampler: Euler, Seed: 1, Script: X/Y/Z plot, X Type: Steps"
    )
    assert read_settings(found).refused == ()


def test_every_axis_says_what_its_values_look_like():
    assert all(axis.hint for axis in AXES.values() if axis.name != "Nothing")


def test_too_many_cells_or_pictures_are_refused_at_the_longest_axis():
    request = GenerationRequest(prompt="a", batch_count=5, batch_size=2)
    assert len(plan(request, [("Seed", "1-40"), OFF, OFF], HERE).cells) == 40
    with pytest.raises(BadField, match="41 cells of 10 images, 410 in all") as caught:
        plan(request, [OFF, ("Seed", "1-41"), OFF], HERE)
    assert caught.value.field == "y_values"
    with pytest.raises(BadField, match="at most 100"):
        plan(request, [("Seed", "1-20"), ("Steps", "5-10"), OFF], HERE)


def test_a_replacement_cannot_make_a_prompt_longer_than_a_prompt_may_be():
    with pytest.raises(AppError, match="20,000 characters"):
        planned(("Prompt S/R", f"a, {'b' * 9000}"), prompt="a " * 9000)
