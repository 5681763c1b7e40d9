"""What comes up at the edge of the page is text."""

from __future__ import annotations

from pathlib import Path

from webui.errors import AppError
from webui.ui.toasts import failure

UI = Path(__file__).resolve().parents[2] / "webui"


def test_a_file_name_in_a_message_stays_text():
    name = "<img src=http://evil.example/a.png>.pt"
    said = failure(AppError(f"“{name}” & more")).message
    assert "<" not in said and "&lt;img" in said and "&amp; more" in said


def test_there_is_no_other_way_to_such_a_message():
    calls = ("gr.Error", "gr.Warning", "gr.Info", "gr.Success", "gr.validate")
    for path in UI.rglob("*.py"):
        text = path.read_text()
        assert path.name == "toasts.py" or not any(call in text for call in calls), path
