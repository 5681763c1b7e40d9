"""The verdict and its advice."""

from __future__ import annotations

import json

import pytest

from webui.training.report import Report, Score, judge


def found(gain: float, held_out: float | None = None, error: float = 0.01) -> Score:
    return Score(0.1, gain, error, held_out, gain, (gain, gain, gain))


@pytest.mark.parametrize(
    ("score", "editable", "norm", "verdict"),
    [
        (found(0.3, 0.25), 0.9, 1.0, "learned"),
        (found(0.3), 0.9, 1.0, "learned"),
        (found(0.01), 0.95, 1.0, "weak"),
        (found(0.1, error=0.09), 0.95, 1.0, "weak"),
        (found(0.3), 0.95, 0.1, "weak"),
        (found(0.3), 0.2, 1.0, "overfitted"),
        (found(0.3), 0.9, 20.0, "overfitted"),
        (found(0.5, -0.1), 0.9, 1.0, "overfitted"),
    ],
)
def test_verdicts(score: Score, editable: float, norm: float, verdict: str):
    assert judge(score, editable, norm, classic=False)[0] == verdict


def test_advice_names_what_the_recipe_can_change():
    assert "Object preset" in judge(found(0.3), 0.2, 9.0, classic=True)[1]
    assert "pull" in judge(found(0.3), 0.2, 1.0, classic=False)[1]
    assert "more vectors" in judge(found(0.0), 1.0, 1.0, classic=False)[1]


def test_a_report_survives_json():
    report = Report(
        "learned", "Good.", 50, "Best.", found(0.3, 0.2), 0.9, 1.0, (("cat", "dog"),), 3.5
    )
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
