"""Cards as a page gets them: plain data, all of it at first, then only what changed."""

from __future__ import annotations

import secrets
import threading
from datetime import datetime
from typing import Any
from urllib.parse import quote

from webui.embeddings.embedding import FIRST_ENCODER, OUTPUT
from webui.embeddings.library import Card
from webui.models.families import FAMILIES, describe_widths, family_of_widths
from webui.prompting.editing.calls import call_text
from webui.studio.studio import Studio


class CardFeed:
    """Numbers the changes of the cards, so that a page can ask for what is new to it."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()
        self._run = secrets.token_hex(4)
        self._seen: tuple[int, str, int] | None = None
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
        seen = versions(studio)
        if seen == self._seen:
            return
        only_files = self._seen is not None and seen[1:] == self._seen[1:]
        self._seen = seen
        self._revision += 1
        cards = {card.key: card for card in studio.library.snapshot().cards}
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


def versions(studio: Studio) -> tuple[int, str, int]:
    """Return what differs whenever a card becomes different: files, the loaded model, uses."""
    model = studio.models.state.model
    loaded = f"{model.short_hash} {model.name}" if model else ""
    return studio.library.version, loaded, studio.history.version


def card_data(studio: Studio, card: Card) -> dict[str, Any]:
    """Return what the grids' script needs of a card, as plain JSON."""
    reason = studio.why_unusable(card)
    badges = [] if card.problem else _badges(card)
    notes, said = card.notes, card.notes.published
    side = notes.side or ("negative" if card.kind == OUTPUT else "")
    return {
        "key": card.key,
        "name": card.name,
        "family": None if card.problem else _family(card),
        "folder": card.folder,
        "badges": [*(["negative"] if notes.side == "negative" else []), *badges],
        "about": _about(card),
        "reason": reason,
        "note": None if reason else _model_note(studio, card),
        "description": notes.description or said.name,
        "side": side,
        "content_hash": card.content_hash,
        "added": card.added,
        "modified": card.modified,
        "uses": studio.history.uses(card.name, card.short_hash),
        "size_bytes": card.size_bytes,
        "thumbnail": thumbnail_url(card),
        "haystack": " ".join(
            (
                card.name,
                card.folder,
                notes.description,
                notes.notes,
                *notes.tags,
                said.name,
                said.base_model,
                *said.words,
            )
        ).lower(),
    }


def call(card: Card) -> str:
    """Return what a click on the card writes into the prompt."""
    return call_text(card.name, card.explicit_only, card.notes.preferred_weight)


def thumbnail_url(card: Card) -> str | None:
    """Return the address of a card's picture, which changes with the picture; None without one."""
    if card.preview_stamp is None:
        return None
    stamp = card.preview_stamp
    return f"thumbnails?card={quote(card.key, safe='')}&v={stamp.mtime_ns}-{stamp.size}"


def describe(card: Card) -> str:
    """Return in a few words what a readable embedding is, e.g. ``SD1, 8 vectors``."""
    return ", ".join(_badges(card))


def _badges(card: Card) -> list[str]:
    if card.kind == OUTPUT:
        return ["whole negative prompt", _family(card)]
    only = " (clip_l only)" if card.kind == FIRST_ENCODER else ""
    return [_family(card) + only, _count(card.vectors, "vector")]


def made_for(card: Card) -> str:
    """Return what a card's embedding is made for, with the widths of its vectors."""
    widths = describe_widths(card.widths)
    only = ", its first text encoder only" if card.kind == FIRST_ENCODER else ""
    known = card.kind == FIRST_ENCODER or family_of_widths(card.widths)
    return f"{_family(card)} ({widths}){only}" if known else widths


def _family(card: Card) -> str:
    if card.kind == FIRST_ENCODER:
        return FAMILIES["sdxl"].label
    family = family_of_widths(card.widths)
    return family.label if family else f"{describe_widths(card.widths)} wide"


def _model_note(studio: Studio, card: Card) -> str | None:
    """Say quietly that a fitting embedding comes from another checkpoint."""
    model = studio.models.state.model
    if model is None or not card.trained_on or card.trained_on == model.name:
        return None
    return f"Trained on {card.trained_on}; works best there."


def _about(card: Card) -> str:
    day = datetime.fromtimestamp(card.modified).strftime("%Y-%m-%d")
    size = f"{card.size_bytes / 1024:,.1f} kB"
    return " · ".join(filter(None, (size, day, card.trained_on)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
