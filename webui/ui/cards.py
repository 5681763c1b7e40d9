"""The grid of embedding cards, used on the Embeddings tab and beside the prompt."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import quote

import gradio as gr

from webui.embeddings.library import Card
from webui.models.families import describe_widths, family_of_widths
from webui.studio.studio import Studio
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


def card_data(studio: Studio, card: Card) -> dict[str, Any]:
    """Return what the grids' script needs of a card, as plain JSON."""
    reason = studio.why_unusable(card)
    badges = [] if card.problem else [_family(card), _count(card.vectors, "vector")]
    notes = card.notes
    return {
        "key": card_key(card),
        "name": card.name,
        "call": call(card),
        "family": None if card.problem else _family(card),
        "folder": card.folder,
        "badges": [*(["negative"] if notes.side == "negative" else []), *badges],
        "about": _about(card),
        "reason": reason,
        "note": None if reason else _model_note(studio, card),
        "description": notes.description,
        "side": notes.side,
        "content_hash": card.content_hash,
        "added": card.added,
        "modified": card.modified,
        "uses": studio.history.uses(card.name, card.short_hash),
        "size_bytes": card.size_bytes,
        "thumbnail": thumbnail_url(card),
        "haystack": " ".join(
            (card.name, card.folder, notes.description, notes.notes, *notes.tags)
        ).lower(),
    }


def card_key(card: Card) -> str:
    """Return what tells a card from all others in the page: its file's path."""
    return str(card.path)


def call(card: Card) -> str:
    """Return what a click on the card writes into the prompt.

    The name with its brackets escaped; ``<name>`` if it only works when called explicitly;
    ``(name:0.8)`` if its notes have a preferred weight.
    """
    notes = card.notes
    name = re.sub(r"([()\[\]\\])", r"\\\1", card.name)
    if notes.explicit_only:
        name = f"<{card.name}>"
    weight = notes.preferred_weight
    return name if weight in (None, 1) else f"({name}:{weight:g})"


def thumbnail_url(card: Card) -> str | None:
    """Return the address of a card's picture, which changes with the picture; None without one."""
    if card.preview_stamp is None:
        return None
    stamp = card.preview_stamp
    return f"thumbnails/{quote(card.name, safe='')}?v={stamp.mtime_ns}-{stamp.size}"


def describe(card: Card) -> str:
    """Return in a few words what a readable embedding is, e.g. ``SD1, 8 vectors``."""
    return f"{_family(card)}, {_count(card.vectors, 'vector')}"


def _family(card: Card) -> str:
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
