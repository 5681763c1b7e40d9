"""What is told of a request before it becomes a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from webui.models.model import Model
from webui.training.intake import TrainingRequest, check_request, preflight_request
from webui.training.recipe import Recipe

RECIPE = Recipe(vectors=1, rate="1e-7", precision="fp32")


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
