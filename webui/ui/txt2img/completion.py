"""Completion of embedding names while a prompt is being typed."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webui.studio.card_feed import call, describe, thumbnail_url
from webui.studio.studio import Studio
from webui.ui.theme import asset

LIST = """
<div class="completion" id="completion-list" role="listbox" aria-label="Embeddings" hidden></div>
<p class="unseen" role="status"></p>
"""
MOST = 8
"""Names offered at a time."""
LONGEST = 100
"""Characters of a beginning that are looked up at all."""


def build(studio: Studio) -> None:
    """Add the list of names, which shows itself under whichever prompt box is typed into."""

    def complete(beginning: str) -> list[dict[str, Any]]:
        return offers(studio, beginning)

    gr.HTML(
        html_template=LIST,
        js_on_load=asset("completion.js"),
        apply_default_css=False,
        server_functions=[complete],
        elem_id="completion",
    )


def offers(studio: Studio, beginning: object) -> list[dict[str, Any]]:
    """Return the embeddings whose names begin with, or else contain, some letters.

    Only those that the loaded model can use; names that are written out already are not offered.
    """
    if not isinstance(beginning, str) or len(beginning) > LONGEST:
        return []
    wanted = beginning.casefold()
    names = [name for name in studio.library.names() if wanted in name.casefold()]
    if any(name.casefold() == wanted for name in names):
        return []
    names.sort(key=lambda name: (not name.casefold().startswith(wanted), name.casefold()))
    cards = (studio.library.card(name) for name in names[: MOST * 4])
    fitting = [card for card in cards if card and studio.why_unusable(card) is None]
    return [
        {
            "name": card.name,
            "call": call(card),
            "about": describe(card),
            "thumbnail": thumbnail_url(card),
        }
        for card in fitting[:MOST]
    ]
