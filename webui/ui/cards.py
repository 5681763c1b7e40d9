"""The grids of cards: embeddings beside the prompt and on their tab, checkpoints, LoRAs."""

from __future__ import annotations

from string import Template
from typing import Literal

import gradio as gr

from webui.errors import AppError
from webui.studio.card_feed import versions
from webui.studio.studio import Studio
from webui.ui.polling import Poll
from webui.ui.theme import asset
from webui.ui.toasts import failure

Kind = Literal["embeddings", "checkpoints", "loras"]
NOUNS: dict[Kind, str] = {
    "embeddings": "embeddings",
    "checkpoints": "checkpoints",
    "loras": "LoRAs",
}


def card_grid(elem_id: str, kind: Kind = "embeddings", *, details: bool = False) -> gr.HTML:
    """Make an empty grid; with ``details`` each card has a button that triggers ``select``.

    A click on a checkpoint triggers ``select`` too, with its name.
    """
    # The script may run before other properties have arrived, so the template tells it.
    template = Template(asset("cards.html")).substitute(
        noun=NOUNS[kind],
        title=NOUNS[kind][0].upper() + NOUNS[kind][1:],
        kind=kind + (" cards-with-details" if details else ""),
    )
    return gr.HTML(
        html_template=template,
        js_on_load=asset("cards.js"),
        apply_default_css=False,
        elem_id=elem_id,
    )


def checkpoint_cards(studio: Studio) -> None:
    """Make the grid of checkpoints; a click on one loads it."""

    def load(event: gr.EventData) -> None:
        try:
            studio.models.switch(str(event._data["value"]))
        except AppError as error:
            raise failure(error) from error

    card_grid("checkpoint-cards", "checkpoints").select(
        load, None, None, queue=False, show_progress="hidden", api_visibility="private"
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
        return f"{'.'.join(map(str, versions(studio)))}/{studio.models.state.version}"

    poll.watch(version, lambda: [version()], [store])
