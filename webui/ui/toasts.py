"""Messages that come up at the edge of the page, which Gradio shows as HTML."""

from __future__ import annotations

from html import escape

import gradio as gr


def failure(problem: Exception | str) -> gr.Error:
    """Return the error to raise so that the page shows a problem's text as text."""
    return gr.Error(escape(str(problem), quote=False), print_exception=False)
