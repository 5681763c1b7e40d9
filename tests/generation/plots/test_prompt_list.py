"""Each line of a list is a prompt, or options of its own."""

from __future__ import annotations

import pytest

from webui.errors import BadField
from webui.generation.plots.plan import Plan, PlotContext
from webui.generation.plots.prompt_list import ListOptions, plan_list
from webui.generation.request import GenerationRequest

HERE = PlotContext(checkpoints=("starter", "sd/v1-5"))


def listed(text: str, prompt: str = "", seed: int = 7, **options) -> Plan:
    request = GenerationRequest(prompt, "ugly", seed=seed, batch_size=2)
    return plan_list(request, text, ListOptions(**options), HERE)


def test_lines_are_prompts_and_empty_ones_are_passed_over():
    plan = listed("a castle, at night\n\n  a well-kept -- no, a kept well\n".replace(" -- ", " - "))
    assert [c.request.prompt for c in plan.cells] == [
        "a castle, at night", "a well-kept - no, a kept well",
    ]  # fmt: skip
    assert {c.request.seed for c in plan.cells} == {7} and plan.labels is None


def test_a_line_may_have_options_by_our_names_and_the_apis():
    [cell] = listed(
        '--prompt "a castle" at night --negative_prompt fog --steps 9 --cfg_scale 4.5 --seed 3 '
        "--sampler_name 'DPM++ 2M Karras' --n_iter 2 --hr_scale 1.5 --enable_hr true "
        "--sd_model sd/v1-5 --outpath_samples there"
    ).cells
    request = cell.request
    assert request.prompt == "a castle at night" and request.negative_prompt == "fog ugly"
    assert (request.steps, request.cfg_scale, request.seed) == (9, 4.5, 3)
    assert (request.sampler, request.schedule_type) == ("DPM++ 2M", "Karras")
    assert (request.batch_count, request.hires, request.hires_scale) == (2, True, 1.5)
    assert cell.checkpoint == "sd/v1-5"


def test_a_prompt_of_the_box_stands_before_or_behind():
    assert listed("a castle", "ink").cells[0].request.prompt == "a castle ink"
    assert listed("a castle", "ink", place="end").cells[0].request.prompt == "ink a castle"


def test_seeds_stay_count_on_or_are_drawn_anew():
    lines = "a\nb\nc"
    assert [c.request.seed for c in listed(lines, count_seeds=True).cells] == [7, 9, 11]
    assert len({c.request.seed for c in listed(lines, seed=-1).cells}) == 3
    assert len({c.request.seed for c in listed(lines, seed=-1, same_seed=True).cells}) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("  \n", "Enter a prompt"),
        ("a\n--prompt b --steps many", "Line 2: Steps must be a whole number"),
        ("--prompt b --stepz 3", "Line 1: there is no option --stepz"),
        ("--prompt 'b --steps 3", "Line 1: a quotation mark"),
        ("b --steps 3", "Line 1: options begin with two hyphens"),
        ("--steps", "Line 1: --steps has no value"),
        ("--prompt a --sd_model other", "Line 1: There is no model"),
        ("a\n" * 201, "402 images"),
    ],
)
def test_what_cannot_be_drawn_is_told_with_its_line(text: str, told: str):
    with pytest.raises(BadField, match=told) as caught:
        listed(text)
    assert caught.value.field == "prompt_lines"
