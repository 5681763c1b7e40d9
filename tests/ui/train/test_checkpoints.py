"""Kept steps are looked through by a slider."""

from __future__ import annotations

from collections.abc import Callable

from webui.ui.train.checkpoints import _show


def test_kept_steps_can_be_looked_through_while_the_run_goes_on(view_of: Callable):
    view = view_of([0.2] * 6, {0: 0.0, 2: 0.3, 4: 0.1, 6: 0.2})
    whole, slider, said, *_ = _show(view, "", 0)
    assert whole["visible"] and slider["value"] == 2 and "2 of 6" in said
    assert (slider["minimum"], slider["maximum"], slider["step"]) == (0, 6, 2)


def test_a_slider_that_was_moved_stays_where_it_is_when_steps_are_added(view_of: Callable):
    view = view_of([0.2] * 6, {0: 0.0, 2: 0.3, 4: 0.1, 6: 0.2})
    _, slider, said, *_, row = _show(view, view.run_id, 4)
    assert "value" not in slider and "4 of 6" in said and "visible" not in row
    assert _show(view, "another run", 4)[1]["value"] == 2


def test_one_kept_step_needs_no_slider(view_of: Callable):
    assert _show(view_of([0.2], {0: 0.0}), "", 0)[0]["visible"] is False
    assert _show(None, "", 0)[0]["visible"] is False
