"""Stages of a run: read from templates, and found by how far the run is."""

from __future__ import annotations

import pytest

from webui.training.stages import Stage, stage_at, stages_of


def test_templates_without_such_lines_are_one_stage():
    assert stages_of(("a [name]", "[name], x")) == (Stage(1.0, ("a [name]", "[name], x")),)


def test_a_line_with_a_number_begins_a_stage():
    first, second = stages_of(("# 40 %", "a [name]", "#60", "[name]", "[name], x"))
    assert first == Stage(40, ("a [name]",))
    assert second == Stage(60, ("[name]", "[name], x"))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("# 40 %", "# 60 %", "[name]"), "40 % has no templates"),
        (("[name]", "# 60 %", "[name]"), "begins with a line"),
        (("# 0 %", "[name]", "# 1", "[name]"), "some steps"),
        (("# a stage", "[name]"), "lacks"),
    ],
)
def test_stages_that_make_no_sense_are_refused(lines: tuple[str, ...], said: str):
    with pytest.raises(ValueError, match=said):
        stages_of(lines)


def test_shares_are_weights_of_the_whole_run():
    stages = stages_of(("# 1", "[name] a", "# 3", "[name] b"))
    drawn = [stage_at(stages, at).lines[0] for at in (0, 0.24, 0.25, 0.99, 1, 1.5)]
    assert drawn == ["[name] a", "[name] a", *["[name] b"] * 4]
