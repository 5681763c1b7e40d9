"""The grids of cards: embeddings beside the prompt and on their tab, checkpoints, LoRAs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from string import Template
from typing import Any, Literal

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


def card_grid(
    elem_id: str, kind: Kind = "embeddings", actions: Sequence[Callable[..., Any]] = ()
) -> gr.HTML:
    """Make an empty grid whose cards go into the prompts; those of checkpoints trigger ``select``.

    With ``actions``, which its script calls by their names for cards that were chosen, a click on a
    card triggers ``select`` too, for its details.
    """
    # The script may run before other properties have arrived, so the template tells it.
    template = Template(asset("cards.html")).substitute(
        noun=NOUNS[kind],
        title=NOUNS[kind][0].upper() + NOUNS[kind][1:],
        kind=kind + (" cards-with-details" if actions else ""),
        chosen=asset("chosen_cards.html") if actions else "",
    )
    return gr.HTML(
        html_template=template,
        js_on_load=asset("cards.js") + (asset("chosen_cards.js") if actions else ""),
        apply_default_css=False,
        elem_id=elem_id,
        server_functions=list(actions) or None,
    )


def checkpoint_cards(studio: Studio) -> None:
    """Make the grid of checkpoints; a click on one loads it."""

    def load(event: gr.EventData) -> None:
        try:
            studio.models.switch(str(event._data["value"]))
        except AppError as error:
            raise failure(error) from error

    card_grid("checkpoint-cards", "checkpoints").select(
        load, None, None, show_progress="hidden", api_visibility="private"
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
