"""Text from files stays text, and times read well."""

from __future__ import annotations

import pytest

from webui.ui.markup import duration, facts, message, progress


def test_text_is_never_markup():
    hostile = "<img src=x onerror=alert(1)>"
    for html in (message(hostile), progress(1, 2, hostile), facts([(hostile, hostile)])):
        assert "<img" not in html and "&lt;img" in html


def test_facts_without_a_value_are_left_out():
    assert "Steps" not in facts([("Steps", None), ("Name", "a")])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0 s"), (59, "59 s"), (130, "2 min 10 s"), (3900, "1 h 05 min")],
)
def test_a_duration_is_written_for_people(seconds: float | None, text: str):
    assert duration(seconds) == text
