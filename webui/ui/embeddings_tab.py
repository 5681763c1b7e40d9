"""The Embeddings tab: all cards, the details of one, adding and removing files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import gradio as gr

from webui.embeddings.library import Card, Notes
from webui.errors import AppError
from webui.models.families import describe_widths, family_of_widths
from webui.studio.studio import Studio
from webui.ui.cards import card_grid
from webui.ui.markup import facts, message

SIDES = {"either prompt": "", "the prompt": "positive", "the negative prompt": "negative"}
NOTHING_CHOSEN = "Choose ⋯ on a card to see its details, write notes, rename or delete it."


def build(studio: Studio) -> gr.HTML:
    """Build the tab inside the open Blocks and return its grid of cards."""
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            cards = card_grid("all-cards", details=True)
        with gr.Column(scale=3, min_width=290):
            _adding(studio)
            _details(studio, cards)
    return cards


def _adding(studio: Studio) -> None:
    """Build the place where files are dropped."""
    files = gr.File(
        label="Add embeddings (.pt, .bin, .safetensors, picture embeddings)",
        file_count="multiple",
        height=170,
        elem_id="add-embeddings",
    )
    answer = gr.HTML(elem_id="add-answer", js_on_load=None)
    refresh = gr.Button("Look through the folders again", size="sm", elem_id="refresh")

    def add(paths: list[str] | None) -> list[Any]:
        said = []
        for path in map(Path, paths or []):
            try:
                card = studio.library.add_file(path, path.stem)
                said.append(message(f"Added {card.name}.", "good"))
            except AppError as error:
                said.append(message(f"{path.name} was not added: {error}", "bad"))
        return [None, "".join(said)]

    def look() -> str:
        studio.library.refresh()
        count = len(studio.library.snapshot().cards)
        return message(f"{count} files found.", "good")

    files.upload(add, files, [files, answer], api_visibility="private")
    refresh.click(look, None, answer, api_visibility="private", show_progress="hidden")


def _details(studio: Studio, cards: gr.HTML) -> None:
    """Build the panel about one card."""
    key = gr.Textbox(visible="hidden", elem_id="details-key")
    about = gr.HTML(message(NOTHING_CHOSEN), elem_id="details", js_on_load=None)
    with gr.Column(visible=False, elem_id="details-form") as form:
        description = gr.Textbox(label="Description", lines=2, elem_id="details-description")
        notes = gr.Textbox(label="Notes", lines=2, elem_id="details-notes")
        with gr.Row(elem_classes=["narrow"]):
            side = gr.Dropdown(list(SIDES), label="A click writes into", min_width=130)
            weight = gr.Number(label="with weight", value=1, step=0.1, min_width=80, precision=2)
        explicit = gr.Checkbox(
            label="Only when called as <name>", info="For names that are ordinary words."
        )
        save = gr.Button("Save notes", variant="primary", size="sm", elem_id="save-notes")
        name = gr.Textbox(label="File name, which is what is written in a prompt", max_lines=1)
        with gr.Row(elem_classes=["narrow"]):
            rename = gr.Button("Rename", size="sm")
            delete = gr.Button("Delete", variant="stop", size="sm", elem_id="delete-embedding")
    answer = gr.HTML(elem_id="details-answer", js_on_load=None)
    token = gr.Textbox(visible="hidden")
    undo = gr.Button("Undo delete", size="sm", visible=False, elem_id="undo-delete")

    fields = [key, about, form, description, notes, side, weight, explicit, name]
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def choose(event: gr.EventData) -> list[Any]:
        return [*_show(studio, _find(studio, event._data["value"])), ""]

    def keep(key: str, *values: Any) -> str:
        card = _find(studio, key)
        if card is None:
            return message("The file is gone.", "bad")
        text, more, where, weight, only = values
        preferred = None if weight in (None, 1) else float(weight)
        try:
            studio.library.save_notes(
                card.name,
                Notes(
                    description=text or "",
                    notes=more or "",
                    preferred_weight=preferred,
                    side=SIDES.get(where, ""),
                    explicit_only=bool(only),
                    tags=card.notes.tags,
                ),
            )
        except AppError as error:
            return message(str(error), "bad")
        return message("Notes saved.", "good")

    def move(key: str, wish: str) -> list[Any]:
        card = _find(studio, key)
        if card is None:
            return [*_show(studio, None), message("The file is gone.", "bad")]
        try:
            renamed = studio.library.rename(card.name, wish.strip(), card.path)
        except AppError as error:
            return [*[gr.skip()] * len(fields), message(str(error), "bad")]
        return [*_show(studio, renamed), message(f"Renamed to {wish.strip()}.", "good")]

    def remove(key: str) -> list[Any]:
        card = _find(studio, key)
        try:
            if card is None:
                raise AppError("The file is gone already.")
            trashed = studio.library.delete(card.name, card.path)
        except AppError as error:
            return [*[gr.skip()] * len(fields), message(str(error), "bad"), gr.skip(), gr.skip()]
        said = message(f"{card.name} lies in the trash now.", "good")
        return [*_show(studio, None), said, trashed, gr.update(visible=True)]

    def bring_back(trashed: str) -> list[Any]:
        try:
            studio.library.undo_delete(trashed)
        except AppError as error:
            return [message(str(error), "bad"), gr.skip()]
        return [message("It is back.", "good"), gr.update(visible=False)]

    cards.select(choose, None, [*fields, answer], **private)
    save.click(keep, [key, description, notes, side, weight, explicit], answer, **private)
    rename.click(move, [key, name], [*fields, answer], **private)
    delete.click(remove, key, [*fields, answer, token, undo], **private)
    undo.click(bring_back, token, [answer, undo], **private)


def _find(studio: Studio, key: str) -> Card | None:
    """Return the card of a file; a path that is no card's finds nothing, so none can be reached."""
    cards = studio.library.snapshot().cards
    return next((card for card in cards if str(card.path) == key), None)


def _show(studio: Studio, card: Card | None) -> list[Any]:
    """Return the panel's values for a card, in the order of ``fields``."""
    if card is None:
        return ["", message(NOTHING_CHOSEN), gr.update(visible=False), *[gr.skip()] * 6]
    reason = studio.why_unusable(card)
    family = family_of_widths(card.widths)
    about = facts(
        [
            ("Name", card.name),
            ("Name inside", card.inner_name if card.inner_name != card.name else None),
            (
                "Made for",
                f"{family.label} ({describe_widths(card.widths)})"
                if family
                else describe_widths(card.widths),
            ),
            ("Vectors", card.vectors or None),
            ("Trained on", card.trained_on),
            ("Steps", card.step),
            ("Format", card.format),
            ("File", f"{card.folder}/{card.path.name}" if card.folder else card.path.name),
            ("Size", f"{card.size_bytes / 1024:,.1f} kB"),
            ("Changed", datetime.fromtimestamp(card.modified).strftime("%Y-%m-%d %H:%M")),
            ("SHA-256", card.short_hash),
            ("Vectors' hash", card.content_hash),
        ]
    )
    notes = card.notes
    where = next(label for label, side in SIDES.items() if side == notes.side)
    return [
        str(card.path),
        about + (message(reason, "bad") if reason else ""),
        gr.update(visible=True),
        notes.description,
        notes.notes,
        where,
        notes.preferred_weight or 1,
        notes.explicit_only,
        card.name,
    ]
