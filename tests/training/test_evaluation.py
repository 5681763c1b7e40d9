"""Measures of what was learned."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from webui.models.model import Model
from webui.prompting.tokens import tokens_of
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop
from webui.training.evaluation import (
    baseline_of,
    editability,
    gain_of,
    nearest_words,
    norm_ratio,
    prepare_eval_set,
    score,
)
from webui.training.recipe import Recipe
from webui.training.setup import TrainingSetup, cut_crops, prepare_setup


@pytest.fixture
def task(picture_files: Callable, model: Model) -> TrainingSetup:
    recipe = Recipe(vectors=2, evaluation_tuples=6)
    pictures = read_pictures(picture_files(5))
    cut = cut_crops(recipe, model, pictures)
    moments = [encode_crop(model, square) for square in cut]
    return prepare_setup(model, recipe, "my-thing", "grey cat", pictures, cut, moments)


def words(model: Model, text: str) -> dict[str, torch.Tensor]:
    table = model.text_encoders[0].model.get_input_embeddings().weight
    return {"clip_l": table[list(tokens_of(model.tokenizer).of(text))].clone()}


def test_fixed_inputs_are_the_same_each_time_and_cover_the_schedule(task: TrainingSetup):
    one, other = (prepare_eval_set(task, 6) for _ in range(2))
    assert torch.equal(one.batch.noise, other.batch.noise) and one.lines == other.lines
    assert torch.equal(one.initializer, other.initializer)
    assert one.held_out.tolist() == [False] * 6 + [True] * 3
    assert one.batch.crops[one.held_out].tolist() == [4, 4, 4]
    thirds = (one.batch.timesteps * 3 // 1000).tolist()
    assert set(thirds) == {0, 1, 2}
    assert one.batch.timesteps.min() >= 50 and one.batch.timesteps.max() < 950


def test_the_initializers_own_vectors_gain_nothing(task: TrainingSetup, model: Model):
    found = score(task, prepare_eval_set(task, 6), words(model, "grey cat"))
    assert found.gain == pytest.approx(0, abs=1e-5)
    assert found.error == pytest.approx(0, abs=1e-5)
    assert found.held_out == pytest.approx(0, abs=1e-5)


def test_gain_is_paired_so_that_common_noise_cancels():
    base = torch.rand(40, generator=torch.Generator().manual_seed(0)) + 0.1
    gain, error = gain_of(base * 0.8, base)
    assert gain == pytest.approx(0.2) and error == pytest.approx(0, abs=1e-6)
    assert math.isnan(gain_of(base[:0], base[:0])[0])


def test_the_initializers_own_vectors_leave_other_words_alone(task: TrainingSetup, model: Model):
    baseline = baseline_of(task, task.placeholders[0])
    assert editability(baseline, words(model, "grey cat")) == pytest.approx(1, abs=1e-5)
    loud = {"clip_l": words(model, "grey cat")["clip_l"] * 100}
    assert editability(baseline, loud) < 0.95


def test_norms_are_compared_with_the_vocabulary(task: TrainingSetup):
    assert norm_ratio(task.norms, task.start) == pytest.approx(1, abs=1e-5)
    assert norm_ratio(task.norms, {"clip_l": 3 * task.start["clip_l"]}) == pytest.approx(
        3, abs=1e-5
    )


def test_the_nearest_words_of_a_word_begin_with_itself(model: Model):
    [grey, cat] = nearest_words(model, words(model, "grey cat"))
    assert grey[0] == "grey" and cat[0] == "cat" and len(cat) == 5
