"""Further images are left out in turn where the held-out one says too little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from webui.models.model import Model
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop
from webui.training.evaluation import gain_of, prepare_eval_set, score
from webui.training.recipe import Recipe
from webui.training.runs import leave_one_out
from webui.training.runs.report import EvalResult, judge
from webui.training.setup import TrainingSetup, cut_crops, prepare_setup

RECIPE = Recipe(batch_size=1, evaluation_tuples=2, mixed_precision="fp32")


def found(gain: float, error: float, held_out: float | None, doubt: float) -> EvalResult:
    return EvalResult(0.1, gain, error, held_out, gain, (gain, gain, gain), doubt)


@pytest.fixture
def setup(model: Model, picture_files: Callable) -> TrainingSetup:
    """A training on five images, the last of them held out."""
    pictures = read_pictures(picture_files(5))
    cut = cut_crops(RECIPE, model, pictures)
    moments = [encode_crop(model, crop) for crop in cut]
    return prepare_setup(model, RECIPE, "my-thing", "grey cat", pictures, cut, moments)


def test_it_is_only_asked_where_the_held_out_image_alone_speaks_against_the_run():
    little = leave_one_out.says_too_little
    assert little(found(0.3, 0.02, 0.01, 0.02)) and little(found(0.3, 0.02, -0.2, 0.1))
    assert not little(found(0.3, 0.02, 0.2, 0.05))
    assert not little(found(0.01, 0.02, -0.1, 0.05))  # weak anyway
    assert not little(found(0.3, 0.02, None, float("nan")))


def test_at_each_turn_another_image_is_left_out_and_the_others_are_trained_on(
    setup: TrainingSetup,
):
    seen = [setup, *(leave_one_out.without(setup, turn) for turn in range(1, 6))]
    out = [
        {*range(5)} - {each.latents.pictures[crop] for crop in each.training_crops} for each in seen
    ]
    assert out == [{4}, {3}, {2}, {1}, {0}, {4}]


def test_the_held_out_gain_is_then_that_over_all_turns(
    setup: TrainingSetup,
):
    other = leave_one_out.without(setup, 1)
    vectors = {key: rows + 0.3 * torch.randn_like(rows) for key, rows in setup.start.items()}
    sets = [prepare_eval_set(each, 4) for each in (setup, other)]
    turns = [
        leave_one_out.measured(each, eval_set, vectors, {})
        for each, eval_set in zip((setup, other), sets, strict=True)
    ]
    first = score(setup, sets[0], vectors)
    alone = leave_one_out.together(first, turns[:1], 0)
    assert alone.held_out == pytest.approx(first.held_out, abs=1e-6) and alone.turns == 1
    both = leave_one_out.together(first, turns, 0)
    learned = torch.cat([turn.learned for turn in turns])
    initializer = torch.cat([turn.initializer for turn in turns])
    assert (both.held_out, both.held_out_error) == gain_of(learned, initializer)
    assert both.turns == 2 and both.gain == first.gain


def test_the_verdict_tells_how_many_were_asked():
    asked = replace(found(0.3, 0.02, -0.02, 0.01), turns=3)
    verdict, advice = judge(asked, 0.9, 1.0, False)
    assert verdict == "not shown" and "in 3 trainings, each time others, does not" in advice
