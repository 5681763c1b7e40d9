"""The notes on an embedding as fields, and what was typed into them without being saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from webui.embeddings.library import Card, Notes

SIDES = {"either prompt": "", "the prompt": "positive", "the negative prompt": "negative"}


class NotesForm:
    """The fields, and a hidden component that keeps unsaved notes of other cards in the page."""

    def __init__(self) -> None:
        """Build the fields inside the open Blocks."""
        description = gr.Textbox(label="Description", lines=2, elem_id="details-description")
        notes = gr.Textbox(label="Notes", lines=2, elem_id="details-notes")
        tags = gr.Textbox(
            label="Tags", placeholder="portrait, ink", max_lines=1, elem_id="details-tags"
        )
        with gr.Row(elem_classes=["narrow"]):
            side = gr.Dropdown(list(SIDES), label="Insert into …", min_width=130)
            weight = gr.Number(label="with weight", value=1, step=0.1, min_width=80, precision=2)
        explicit = gr.Checkbox(
            label="Only as <name>",
            info="For names that are ordinary words.",
            elem_id="details-explicit",
        )
        with gr.Row(elem_classes=["narrow"]):
            self.save = gr.Button(
                "Save notes", variant="primary", size="sm", elem_id="save-notes", min_width=80
            )
            self.revert = gr.Button("Revert", size="sm", elem_id="revert-notes", min_width=80)
        self.fields: list[gr.components.Component] = [
            description, notes, tags, side, weight, explicit,
        ]  # fmt: skip
        self.drafts = gr.JSON({}, visible="hidden")
        """Unsaved values by the keys of their cards, and those last shown under ``""``."""

    def show(
        self, card: Card, drafts: Mapping[str, Any]
    ) -> tuple[dict[gr.components.Component, Any], bool]:
        """Return the fields for a card, and whether they hold what was not saved before."""
        saved = values_of(card.notes)
        values = drafts.get(card.key, saved)
        fields = dict(zip(self.fields, values, strict=True))
        return {**fields, self.drafts: {**drafts, "": saved}}, values != saved


def drafts_with(
    drafts: Mapping[str, Any] | None, key: str, values: Sequence[Any]
) -> dict[str, Any]:
    """Return the drafts with the values that stand in the fields for the card of a key.

    Values that are as they were shown are no draft.
    """
    kept = dict(drafts or {})
    shown = kept.get("")
    kept.pop(key, None)
    if key and shown is not None and notes_of(*values) != notes_of(*shown):
        kept[key] = list(values)
    return kept


def values_of(notes: Notes) -> list[Any]:
    """Return the values of the fields for some notes."""
    return [
        notes.description,
        notes.notes,
        ", ".join(notes.tags),
        next(label for label, side in SIDES.items() if side == notes.side),
        notes.preferred_weight or 1,
        notes.explicit_only,
    ]


def notes_of(
    description: str | None,
    notes: str | None,
    tags: str | None,
    side: str,
    weight: float | None,
    explicit: bool,
) -> Notes:
    """Return the notes that stand in the fields."""
    return Notes(
        description=description or "",
        notes=notes or "",
        preferred_weight=None if weight in (None, 1) else float(weight or 0),
        side=SIDES.get(side, ""),
        explicit_only=bool(explicit),
        tags=tuple(dict.fromkeys(tag.strip() for tag in (tags or "").split(",") if tag.strip())),
    )
