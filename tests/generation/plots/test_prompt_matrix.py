"""A prompt matrix has a cell for each choice of the parts behind the bars."""

from __future__ import annotations

import pytest

from webui.errors import BadField
from webui.generation.plots.plan import Plan, PlotContext
from webui.generation.plots.prompt_matrix import MatrixOptions, plan_matrix
from webui.generation.request import GenerationRequest

PROMPT = "a castle, | at night | in snow|fog"


def matrix(prompt: str = PROMPT, negative: str = "", **options) -> Plan:
    request = GenerationRequest(prompt, negative, seed=7, batch_size=2, batch_count=3)
    return plan_matrix(request, MatrixOptions(**options), PlotContext())


def prompts(plan: Plan) -> list[str]:
    return [cell.request.prompt for cell in plan.cells]


def test_every_choice_of_parts_is_drawn_once_in_its_place():
    plan = matrix()
    assert prompts(plan) == [
        "a castle", "a castle, at night", "a castle, in snow", "a castle, at night, in snow",
        "a castle, fog", "a castle, at night, fog", "a castle, in snow, fog",
        "a castle, at night, in snow, fog",
    ]  # fmt: skip
    assert plan.labels == (("–", "at night", "in snow", "at night + in snow"), ("–", "fog"), ("",))
    assert {(c.request.seed, c.request.pictures) for c in plan.cells} == {(7, 1)}
    assert plan.pairs == {"Script": "Prompt matrix"}


def test_the_options_are_automatic1111s():
    assert prompts(matrix("a | b", at_start=True, joint="space")) == ["a", "b a"]
    assert [c.request.seed for c in matrix(different_seeds=True).cells] == list(range(7, 15))
    cells = matrix("a", "x | y", side="negative").cells
    assert [c.request.negative_prompt for c in cells] == ["x", "x, y"]


@pytest.mark.parametrize(
    ("prompt", "told"), [("a castle", "needs parts"), ("|".join("abcdefgh"), "make 128 images")]
)
def test_none_or_too_many_parts_are_refused(prompt: str, told: str):
    with pytest.raises(BadField, match=told) as caught:
        matrix(prompt)
    assert caught.value.field == "prompt"
