"""Positions are those of the prompt as it was typed."""

from __future__ import annotations

import pytest

from tests.prompting.editing.edit_parts import find
from webui.prompting.editing.spans import read_written


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a bad, <lora:ink:1> foo # bad\nv1", ["bad", "<lora:ink:1>", "foo", "# bad", "v1"]),
        ("e\u0301, bad # e\u0301\n<painting>", ["bad", "# e\u0301", "<painting>"]),
        ("<lora:ink:x> <hypernet:y:1> <nothing>", ["<hypernet:y:1>", "<nothing>"]),
        ("\u1112\u1161\u11ab bad", ["bad"]),
    ],
)
def test_what_moves_as_a_whole(text: str, pieces: list[str]):
    assert [text[slice(*span)] for span in read_written(text, find).whole] == pieces


def test_brackets_are_weights_or_schedules_and_those_in_calls_are_text():
    text = r"(a (b:1.3) [c] [d:e:0.5] c++ \(new\) <x(y)> \(f\)"
    groups = read_written(text, find).groups
    assert [(text[g.start : g.end], g.weight) for g in groups] == [
        ("(b:1.3)", 1.3),
        ("[c]", 0.9),
        ("[d:e:0.5]", None),
    ]
