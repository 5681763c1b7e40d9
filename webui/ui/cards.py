"""The grid of embedding cards, used on the Embeddings tab and beside the prompt."""

from __future__ import annotations

import gradio as gr

from webui.studio.card_feed import versions
from webui.studio.studio import Studio
from webui.ui.polling import Poll
from webui.ui.theme import asset


def card_grid(elem_id: str, *, details: bool = False) -> gr.HTML:
    """Make an empty grid; with ``details`` each card has a button that triggers ``select``."""
    # The script may run before other properties have arrived, so the template tells it.
    classes = "cards-grid cards-with-details" if details else "cards-grid"
    return gr.HTML(
        html_template=asset("cards.html").replace("cards-grid", classes),
        js_on_load=asset("cards.js"),
        apply_default_css=False,
        elem_id=elem_id,
    )


def keep_current(studio: Studio, poll: Poll) -> None:
    """Add what makes the page fetch cards whenever something about them changes."""
    store = gr.HTML(
        value="",
        html_template="",
        js_on_load=asset("card_store.js"),
        apply_default_css=False,
        elem_classes=["setter"],
    )

    def version() -> str:
        studio.history.look()
        return ".".join(map(str, versions(studio)))

    poll.watch(version, lambda: [version()], [store])
