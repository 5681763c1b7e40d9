"""What the Train tab shows of a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from webui.ui.train.watch import DRAWN, FIXED, _curve


def test_progress_is_read_off_fixed_inputs_whatever_the_steps_draw(view_of: Callable):
    view = view_of([0.2, 0.2, 0.3, 0.3], {0: 0.0, 2: 0.1, 4: 0.2})
    curve = _curve(view)
    fixed = curve[curve["measured_on"] == FIXED]
    assert list(zip(fixed["step"], fixed["gain"], strict=True)) == [(0, 0), (2, 10), (4, 20)]
    drawn = curve[curve["measured_on"] == DRAWN]
    assert drawn["step"].tolist() == [2, 4]
    assert drawn["gain"].tolist() == pytest.approx([0, -50]), "their loss rises, and that is chance"
