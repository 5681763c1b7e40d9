"""The notes on an embedding as fields, saved when one is left."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webui.embeddings.library import Card, Notes
from webui.studio.studio import Studio
from webui.ui.embeddings.preview_image import existing

SIDES = {"either prompt": "", "the prompt": "positive", "the negative prompt": "negative"}


class NotesForm:
    """The fields, and what was shown in them last, so that only changes are saved."""

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
        self.answer = gr.HTML(js_on_load=None, elem_id="notes-answer")
        gr.HTML('<p class="hint">Saved when you leave a field.</p>', js_on_load=None)
        self.fields: list[gr.components.Component] = [
            description, notes, tags, side, weight, explicit,
        ]  # fmt: skip
        self.shown = gr.JSON(None, visible="hidden")
        """The values that were shown last, as ``values_of`` returns them."""
        self.left = [
            description.blur, notes.blur, tags.blur, weight.blur, side.input, explicit.input,
        ]  # fmt: skip
        """The events at which a field is left."""

    def show(self, card: Card) -> dict[gr.components.Component, Any]:
        """Return the fields for a card."""
        saved = values_of(card.notes)
        return {**dict(zip(self.fields, saved, strict=True)), self.shown: saved, self.answer: ""}


def save_changed(studio: Studio, key: str, shown: Any, values: list[Any]) -> bool:
    """Save the notes of a card if they differ from what was shown; say whether they did.

    Raises AppError if they cannot be saved.
    """
    if not key or not isinstance(shown, list) or notes_of(*values) == notes_of(*shown):
        return False
    card = existing(studio, key)
    studio.library.save_notes(card.name, notes_of(*values), card.path)
    return True


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
