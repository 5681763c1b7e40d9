"""Messages at the controls they are about.

Gradio's own validators take their messages away at the next answer to any timer that has the
control among its outputs, so the page sets them itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.ui.theme import asset

_numbers = itertools.count()


def message_setter() -> gr.HTML:
    """Return the invisible component that puts the messages of ``field_messages`` at controls."""
    return gr.HTML(
        value=None,
        html_template="",
        js_on_load=asset("fields.js"),
        apply_default_css=False,
        elem_classes=["setter"],
    )


def field_messages(messages: Mapping[str, str]) -> dict[str, Any]:
    """Return the setter's value for messages by element id; without any, all are taken away.

    Each value differs from the last, so that the same message can come again.
    """
    return {"number": next(_numbers), "messages": dict(messages)}
