"""The cards as the page gets them: all at first, then only those that changed."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import gradio as gr

from webui.embeddings.library import Card
from webui.studio.studio import Studio
from webui.ui.cards import card_data
from webui.ui.polling import Poll
from webui.ui.theme import asset


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
        return ".".join(map(str, _versions(studio)))

    poll.watch(version, lambda: [version()], [store])


class CardFeed:
    """Numbers the changes of the cards, so that a page can ask for what is new to it."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()
        self._run = secrets.token_hex(4)
        self._seen: tuple[int, int, int] | None = None
        self._revision = 0
        self._cards: dict[str, Card] = {}
        self._data: dict[str, tuple[int, dict[str, Any]]] = {}
        self._gone: dict[str, int] = {}

    def since(self, run: str, revision: int) -> dict[str, Any]:
        """Return what changed after a revision; everything if it was of another run of the app.

        ``run`` and ``revision`` name the state that this leads to, ``changed`` holds cards,
        ``gone`` keys; with ``all`` the page starts anew.
        """
        with self._lock:
            self._bring_up_to_date()
            anew = run != self._run or not 0 < revision <= self._revision
            after = 0 if anew else revision
            return {
                "run": self._run,
                "revision": self._revision,
                "all": anew,
                "changed": [data for at, data in self._data.values() if at > after],
                "gone": [] if anew else [key for key, at in self._gone.items() if at > after],
            }

    def _bring_up_to_date(self) -> None:
        studio = self._studio
        seen = _versions(studio)
        if seen == self._seen:
            return
        only_files = self._seen is not None and seen[1:] == self._seen[1:]
        self._seen = seen
        self._revision += 1
        cards = {str(card.path): card for card in studio.library.snapshot().cards}
        for key, card in cards.items():
            if only_files and self._cards.get(key) is card:
                continue
            data = card_data(studio, card)
            if key not in self._data or self._data[key][1] != data:
                self._data[key] = (self._revision, data)
                self._gone.pop(key, None)
        for key in self._data.keys() - cards.keys():
            del self._data[key]
            self._gone[key] = self._revision
        self._cards = cards


def _versions(studio: Studio) -> tuple[int, int, int]:
    """Return numbers of which one grows whenever a card becomes different."""
    return studio.library.version, studio.models.state.version, studio.history.version
