"""The verdict and its advice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from starter.concepts import CONCEPTS, training_pictures
from webui.embeddings import formats
from webui.models.catalog import Checkpoint
from webui.models.loader import load
from webui.settings import ROOT
from webui.training.captions import initializer_tokens
from webui.training.dataset import read_pictures
from webui.training.runs.report import EvalResult, Report, chosen_of, judge
from webui.training.score import measure
from webui.training.setup import words_as_vectors
from webui.training.trials.drawable import Comparison, Strangeness

SHIPPED = ROOT / "models" / "starter"


def found(
    gain: float, held_out: float | None = None, error: float = 0.01, unseen_error: float = 0.02
) -> EvalResult:
    return EvalResult(0.1, gain, error, held_out, gain, (gain, gain, gain), unseen_error)


@pytest.mark.parametrize(
    ("score", "editable", "norm", "verdict"),
    [
        (found(0.3, 0.25), 0.9, 1.0, "learned"),
        (found(0.3), 0.9, 1.0, "learned"),
        (found(0.09, -0.02), 0.9, 1.0, "not shown"),
        (found(0.09, 0.03, unseen_error=0.04), 0.9, 1.0, "not shown"),
        (found(0.09, 0.03, unseen_error=float("nan")), 0.9, 1.0, "not shown"),
        (found(0.01, -0.02), 0.95, 1.0, "weak"),
        (found(0.01), 0.95, 1.0, "weak"),
        (found(0.1, error=0.09), 0.95, 1.0, "weak"),
        (found(0.3), 0.95, 0.1, "weak"),
        (found(0.3), 0.2, 1.0, "overfitted"),
        (found(0.3), 0.9, 2.0, "learned"),
        (found(0.3), 0.9, 20.0, "overfitted"),
        (found(0.5, -0.1), 0.9, 1.0, "overfitted"),
    ],
)
def test_verdicts(score: EvalResult, editable: float, norm: float, verdict: str):
    assert judge(score, editable, norm, classic=False)[0] == verdict


@pytest.mark.parametrize(
    ("over_empty", "error", "fault", "verdict"),
    [
        (0.3, 0.1, False, "learned"),
        (0.05, 0.1, False, "weak"),
        (0.05, 0.1, True, "learned"),
        (0.3, 0.45, False, "not shown"),
    ],
)
def test_verdicts_beside_what_the_model_draws(
    over_empty: float, error: float, fault: bool, verdict: str
):
    score = replace(found(0.3, 0.25), over_empty=over_empty)
    beside = Comparison(Strangeness(0.01, error), Strangeness(0.01, 0.15), words_gain=0.5)
    assert judge(score, 0.9, 1.0, False, beside, fault)[0] == verdict


@pytest.mark.parametrize(("over_empty", "verdict"), [(0.01, "learned"), (-0.01, "weak")])
def test_a_negative_that_was_measured_in_its_place_must_be_better_than_none(
    over_empty: float, verdict: str
):
    score = replace(found(0.3, 0.25), over_empty=over_empty)
    assert judge(score, 0.9, 1.0, False, fault=True, guided=True)[0] == verdict
    assert judge(score, 0.9, 1.0, False, fault=True)[0] == "learned"


def test_of_equals_the_last_is_chosen_and_of_others_the_best():
    """At a gain of 0.30 after 75 steps one picture in six showed the thing, at 0.29 after 250
    steps five in six."""
    early, late, worse = found(0.30), found(0.29, error=0.02), found(0.2, error=0.02)
    assert chosen_of([found(0.0), early, late]) == 2
    assert chosen_of([found(0.0), early, late, worse]) == 2
    assert chosen_of([found(0.0), early, worse]) == 1
    assert chosen_of([found(0.0, error=float("nan"))]) == 0


def test_steps_that_each_lose_a_little_do_not_lead_away_from_the_best():
    slide = [found(0.30 - 0.008 * number) for number in range(5)]
    assert chosen_of(slide) == 1, "each is within its error of the one before, not of the best"


@pytest.mark.parametrize(
    ("score", "editable", "norm", "told"),
    [
        (found(0.3), 0.2, 1.0, "Other words of a prompt lose their hold"),
        (found(0.3), 0.9, 20.0, "20.0 times as long"),
        (found(0.5, -0.1), 0.9, 1.0, "the one that was held out gains far less"),
        (found(0.3), 0.9, 0.1, "0.10 times as long"),
        (found(0.01), 0.9, 1.0, "hardly better than its initializer"),
    ],
)
def test_a_verdict_says_what_it_rests_on(
    score: EvalResult, editable: float, norm: float, told: str
):
    assert told in judge(score, editable, norm, classic=False)[1]


@pytest.mark.slow
def test_shipped_embeddings_are_learned_and_the_words_that_they_start_from_are_weak(
    tmp_path: Path,
):
    model = load(Checkpoint("starter", SHIPPED), torch.device("cpu"), torch.float32)
    concept = next(item for item in CONCEPTS if item.name == "toadstool")
    paths = []
    for number, (picture, _) in enumerate(training_pictures(concept)):
        paths.append(tmp_path / f"{number}.png")
        picture.save(paths[-1])
    pictures = read_pictures(paths)
    made = formats.read(ROOT / "embeddings" / "toadstool.safetensors")
    ids = initializer_tokens(model.tokenizer, concept.initializer)
    start = replace(made, vectors=words_as_vectors(model, ids, len(made)))
    long = replace(made, vectors={key: 9 * rows for key, rows in made.vectors.items()})
    verdicts = [
        measure(item, model, concept.initializer, pictures).verdict for item in (made, start, long)
    ]
    assert verdicts == ["learned", "weak", "overfitted"]


def test_advice_names_what_the_recipe_can_change():
    assert "Object preset" in judge(found(0.3), 0.2, 9.0, classic=True)[1]
    assert "prior weight" in judge(found(0.3), 0.2, 1.0, classic=False)[1]
    assert "more vectors" in judge(found(0.0), 1.0, 1.0, classic=False)[1]


def test_a_report_survives_json():
    report = Report(
        "learned", "Good.", 50, "Best.", found(0.3, 0.2), 0.9, 1.0, (("cat", "dog"),), 3.5
    )
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
