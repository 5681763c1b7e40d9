"""What is told of a request before it becomes a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from webui.models.model import Model
from webui.training.recipe import Recipe
from webui.training.request import (
    TrainingRequest,
    check_request,
    name_advice,
    name_problem,
    preflight_request,
)

RECIPE = Recipe(vectors=1, learning_rate="1e-7", mixed_precision="fp32")


def test_all_that_a_run_could_suffer_from_is_told_before_it(picture_files: Callable, model: Model):
    half = replace(model, dtype=torch.float16)
    request = TrainingRequest("my-thing", picture_files(3), "grey cat", RECIPE)
    told = " ".join(finding.message for finding in preflight_request(request, half, ["my-thing-2"]))
    for part in ("“my-thing-2” begin alike", "grey · cat", "rate is too low", "--precision fp32"):
        assert part in told
    assert check_request(request, half, []) == [], "it is advice, and stops nothing"


def test_a_form_that_is_half_filled_in_is_looked_over_too(picture_files: Callable, model: Model):
    request = TrainingRequest("", picture_files(3), "", Recipe())
    assert not any(finding.stops for finding in preflight_request(request, model, []))


@pytest.mark.parametrize("name", ["my-cat", "sks_mug", "1a1xyz", "katzé-v2", "v1.5-toy"])
def test_names_of_ones_own_are_taken(model: Model, name: str):
    assert name_problem(name, model.tokenizer, [], False) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "Give the embedding a name"),
        ("  ", "Give the embedding a name"),
        ("cat", "ordinary word"),
        ("Painting", "ordinary word"),
        ("../cat", "letters, digits"),
        ("a/b", "letters, digits"),
        (".hidden", "letters, digits"),
        ("my cat", "letters, digits"),
        ("cat,dog", "letters, digits"),
        ("(cat:2)", "letters, digits"),
        ("<cat>", "letters, digits"),
        ("cat.", "letters, digits"),
        ("aux.mug", "reserved"),
        ("x" * 65, "longer than 64"),
    ],
)
def test_names_that_cannot_be_used_are_explained(model: Model, name: str, told: str):
    assert told in name_problem(name, model.tokenizer, [], False)


def test_a_name_in_use_is_refused_whatever_its_case_unless_replaced(model: Model):
    assert "already" in name_problem("My-Cat", model.tokenizer, ["my-cat"], False)
    assert name_problem("My-Cat", model.tokenizer, ["my-cat"], True) is None


def test_names_that_begin_alike_are_warned_of(model: Model):
    assert "bad-hands-5" in name_advice("bad-hands", model.tokenizer, ["bad-hands-5", "other"])
    assert name_advice("my-mug", model.tokenizer, ["bad-hands-5", "my-mug"]) is None


def test_a_name_that_is_not_entered_yet_is_like_no_other(model: Model):
    assert name_advice("", model.tokenizer, ["bad-hands-5"]) is None
    assert name_advice(" ", model.tokenizer, ["bad-hands-5"]) is None


def test_captions_among_the_uploads_are_the_pictures_own(
    tmp_path: Path, picture_files: Callable, model: Model
):
    pictures = picture_files(3)
    texts = [tmp_path / "up" / f"{path.stem}.txt" for path in pictures] + [tmp_path / "notes.txt"]
    (tmp_path / "up").mkdir()
    for path in texts:
        path.write_text("my-thing on a mat")
    recipe = replace(RECIPE, caption_mode="files")
    request = TrainingRequest("my-thing", (*pictures, *texts), "grey cat", recipe)
    assert check_request(request, model, []) == []
    (told,) = [each for each in preflight_request(request, model, []) if each.file]
    assert told.file == "notes.txt" and "no image of its name" in told.message


def test_too_few_pictures_to_hold_one_out_are_told_of(picture_files: Callable, model: Model):
    def said(count: int, recipe: Recipe = RECIPE) -> str:
        request = TrainingRequest("my-thing", picture_files(count), "grey cat", recipe)
        findings = preflight_request(request, model, [])
        return " ".join(found.message for found in findings if not found.stops)

    assert "Of 3 images none can be held out" in said(3) and "Of 4 images" in said(4)
    assert "held out" not in said(5) and "held out" not in said(3, replace(RECIPE, hold_out=False))
