"""The panel about one embedding: what it is, its notes, its picture, its uses and its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from webui.embeddings.formats import SUFFIXES, Kind
from webui.embeddings.library import TRASH_KEPT_S, Card
from webui.errors import AppError
from webui.studio.studio import Studio
from webui.ui.embeddings import facts, preview_image
from webui.ui.embeddings.notes_form import NotesForm, drafts_with, notes_of
from webui.ui.embeddings.preview_image import PRIVATE, existing
from webui.ui.embeddings.quality import Quality
from webui.ui.markup import message

Update = dict[gr.components.Component, Any]
"""New values of components; those that are not in it stay as they are."""
NOTHING_CHOSEN = "Choose ⋯ on a card to see its details, write notes, rename or delete it."
PICTURES_SHOWN = 12
KINDS: dict[Kind, str] = {
    "safetensors": "for everything",
    "a1111": "for AUTOMATIC1111 and Forge",
    "diffusers": "for diffusers",
    "picture": "an image to share",
}


class Details:
    """The panel's components and what happens in it."""

    def __init__(self, studio: Studio) -> None:
        """Build the panel inside the open Blocks."""
        self._studio = studio
        self._key = gr.Textbox(visible="hidden", elem_id="details-key")
        self._about = gr.HTML(message(NOTHING_CHOSEN), elem_id="details", js_on_load=None)
        self._answer = gr.HTML(elem_id="details-answer", js_on_load=None)
        with gr.Column(visible=False, elem_id="details-form") as self._form:
            with gr.Accordion("Notes", open=True):
                self._notes = NotesForm()
            with gr.Accordion("Preview", open=False, elem_id="details-picture"):
                preview_image.build(studio, self._key)
            with gr.Accordion("Used in", open=False, elem_id="details-uses"):
                self._pictures = gr.Gallery(
                    show_label=False,
                    columns=4,
                    height="auto",
                    object_fit="contain",
                    interactive=False,
                    buttons=["fullscreen"],
                )
            with gr.Accordion("Vectors", open=False, elem_id="details-vectors"):
                self._vectors = gr.HTML(js_on_load=None)
            with gr.Accordion("Quality", open=False, elem_id="details-quality"):
                self._quality = Quality(studio, self._key)
            with gr.Accordion("Metadata", open=False, elem_id="details-inside"):
                self._inside = gr.HTML(js_on_load=None)
            with gr.Accordion("File", open=False, elem_id="details-file"):
                self._file_section()
        self._token = gr.Textbox(visible="hidden")
        self._undo = gr.Button("Undo delete", size="sm", visible=False, elem_id="undo-delete")

    def _file_section(self) -> None:
        self._downloads = gr.HTML(js_on_load=None, elem_id="downloads")
        self._name = gr.Textbox(label="Name (used in prompts)", max_lines=1)
        self._rename = gr.Button("Rename", size="sm", elem_id="rename-embedding")
        self._folder = gr.Textbox(label="Folder", placeholder="Top level", max_lines=1)
        self._move = gr.Button("Move", size="sm", elem_id="move-embedding")
        self._delete = gr.Button("Delete", variant="stop", size="sm", elem_id="delete-embedding")

    def connect(self, cards: gr.HTML) -> None:
        """Show what is chosen in ``cards``, and do what the buttons say."""
        notes, key, answer = self._notes, self._key, self._answer
        file = [key, self._about, self._downloads, self._name, self._folder]
        sections = [self._pictures, self._vectors, self._inside, *self._quality.outputs]
        shown = [*file, self._form, *notes.fields, notes.drafts, *sections, answer]
        typed = [key, notes.drafts, *notes.fields]
        cards.select(self._choose, typed, shown, **PRIVATE)
        notes.save.click(self._save, typed, [notes.drafts, answer], **PRIVATE)
        notes.revert.click(self._revert, key, [*notes.fields, notes.drafts, answer], **PRIVATE)
        self._rename.click(
            lambda key, wish: self._changed(key, wish, self._studio.library.rename, "Renamed to"),
            [key, self._name], [*file, answer], **PRIVATE,
        )  # fmt: skip
        self._move.click(
            lambda key, wish: self._changed(key, wish, self._studio.library.move, "Moved to"),
            [key, self._folder], [*file, answer], **PRIVATE,
        )  # fmt: skip
        trash = [key, self._about, self._form, answer, self._token, self._undo]
        self._delete.click(self._throw_away, key, trash, **PRIVATE)
        self._undo.click(self._restore, self._token, [answer, self._undo], **PRIVATE)

    def _choose(self, event: gr.EventData, key: str, drafts: Any, *values: Any) -> Update:
        kept = drafts_with(drafts, key, values)
        card = self._studio.library.card_at(str(event._data["value"]))
        if card is None:
            return {**self._nothing(), self._notes.drafts: kept}
        self._studio.history.look()
        used = self._studio.history.made_with(card.name, card.short_hash)[:PICTURES_SHOWN]
        fields, is_draft = self._notes.show(card, kept)
        return {
            **self._file(card),
            **fields,
            self._form: gr.update(visible=True),
            self._pictures: [str(path) for path in used],
            self._vectors: facts.vectors(self._studio, card),
            self._inside: facts.inside(self._studio, card),
            **self._quality.show(card),
            self._answer: message("These notes are not saved yet.", "warn") if is_draft else "",
        }

    def _file(self, card: Card) -> Update:
        """Return what depends on where the file lies."""
        return {
            self._key: card.key,
            self._about: facts.about(self._studio, card),
            self._downloads: _downloads(card),
            self._name: card.name,
            self._folder: card.folder,
        }

    def _nothing(self) -> Update:
        return {
            self._key: "",
            self._about: message(NOTHING_CHOSEN),
            self._form: gr.update(visible=False),
        }

    def _save(self, key: str, drafts: Any, *values: Any) -> Update:
        try:
            card = existing(self._studio, key)
            self._studio.library.save_notes(card.name, notes_of(*values), card.path)
        except AppError as error:
            return self._refused(error)
        rest = {place: draft for place, draft in (drafts or {}).items() if place != key}
        return {
            self._notes.drafts: {**rest, "": list(values)},
            self._answer: message("Notes saved.", "good"),
        }

    def _revert(self, key: str) -> Update:
        try:
            fields, _ = self._notes.show(existing(self._studio, key), {})
        except AppError as error:
            return self._refused(error)
        return {**fields, self._answer: message("These are the saved notes.", "good")}

    def _changed(
        self, key: str, wish: str | None, change: Callable[[str, str, Path], Card], said: str
    ) -> Update:
        try:
            card = existing(self._studio, key)
            card = change(card.name, (wish or "").strip(), card.path)
        except AppError as error:
            return self._refused(error)
        where = card.name if said.startswith("Renamed") else f"{card.folder}/".lstrip("/")
        return {
            **self._file(card),
            self._answer: message(f"{said} {where or 'the top level'}.", "good"),
        }

    def _throw_away(self, key: str) -> Update:
        try:
            card = existing(self._studio, key)
            token = self._studio.library.delete(card.name, card.path)
        except AppError as error:
            return self._refused(error)
        said = f"Moved {card.name} to trash (kept {TRASH_KEPT_S // 86_400} days)."
        return {
            **self._nothing(),
            self._answer: message(said, "good"),
            self._token: token,
            self._undo: gr.update(visible=True),
        }

    def _restore(self, token: str) -> Update:
        try:
            self._studio.library.undo_delete(token)
        except AppError as error:
            return self._refused(error)
        return {
            self._answer: message("Restored.", "good"),
            self._undo: gr.update(visible=False),
        }

    def _refused(self, error: AppError) -> Update:
        return {self._answer: message(str(error), "bad")}


def _downloads(card: Card) -> str:
    """Return links to the file in each format that can be written."""
    if card.problem:
        return ""
    key = quote(card.key, safe="")
    links = "".join(
        f'<a href="embedding-files?card={key}&amp;as={kind}" download>{SUFFIXES[kind]}</a> '
        f"{purpose}<br>"
        for kind, purpose in KINDS.items()
    )
    return f'<div class="downloads"><strong>Download as</strong><br>{links}</div>'
