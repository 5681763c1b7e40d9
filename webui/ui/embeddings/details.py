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
from webui.ui.embeddings.notes_form import NotesForm, save_changed
from webui.ui.embeddings.preview_image import PRIVATE, existing
from webui.ui.embeddings.quality import Quality
from webui.ui.markup import message
from webui.ui.theme import asset

Update = dict[gr.components.Component, Any]
"""New values of components; those that are not in it stay as they are."""
EACH: dict[str, Any] = {**PRIVATE, "trigger_mode": "multiple"}
"""For what must not be lost because the same has happened just before."""
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
        self._head = gr.HTML(
            "",
            html_template=asset("details.html"),
            js_on_load=asset("details.js"),
            apply_default_css=False,
            elem_id="details-head",
        )
        self._answer = gr.HTML(elem_id="details-answer", js_on_load=None)
        self._token = gr.Textbox(visible="hidden")
        self._undo = gr.Button("Undo delete", size="sm", visible=False, elem_id="undo-delete")
        with (
            gr.Column(visible=False, elem_id="details-form") as self._form,
            gr.Tabs(overflow_behavior="wrap"),
        ):
            with gr.Tab("Notes"):
                self._notes = NotesForm()
            with gr.Tab("About"):
                self._about = gr.HTML(elem_id="details", js_on_load=None)
                self._inside = gr.HTML(elem_id="details-inside", js_on_load=None)
            with gr.Tab("Preview", elem_id="details-picture"):
                preview_image.build(studio, self._key)
            with gr.Tab("Used in", elem_id="details-uses"):
                self._pictures = gr.Gallery(
                    show_label=False,
                    columns=4,
                    height="auto",
                    object_fit="contain",
                    interactive=False,
                    buttons=["fullscreen"],
                )
            with gr.Tab("Quality", elem_id="details-quality"):
                self._vectors = gr.HTML(elem_id="details-vectors", js_on_load=None)
                self._quality = Quality(studio, self._key)
            with gr.Tab("File", elem_id="details-file"):
                self._file_section()

    def _file_section(self) -> None:
        self._downloads = gr.HTML(js_on_load=None, elem_id="downloads")
        with gr.Row(elem_classes=["narrow", "with-button"]):
            self._name = gr.Textbox(label="Name (used in prompts)", max_lines=1, min_width=120)
            self._rename = gr.Button("Rename", size="sm", elem_id="rename-embedding", min_width=80)
        with gr.Row(elem_classes=["narrow", "with-button"]):
            self._folder = gr.Textbox(
                label="Folder", placeholder="Top level", max_lines=1, min_width=120
            )
            self._move = gr.Button("Move", size="sm", elem_id="move-embedding", min_width=80)
        self._moved = gr.HTML(elem_id="file-answer", js_on_load=None)
        self._delete = gr.Button(
            "Delete", variant="stop", size="sm", elem_id="delete-embedding", elem_classes=["danger"]
        )

    def connect(self, cards: gr.HTML) -> None:
        """Show what is chosen in ``cards``, and do what the buttons say."""
        notes, key = self._notes, self._key
        file = [key, self._head, self._about, self._downloads, self._name, self._folder]
        trash = [self._answer, self._token, self._undo]
        sections = [self._pictures, self._vectors, self._inside, *self._quality.outputs]
        said = [self._moved, notes.answer]
        shown = [*file, self._form, *notes.fields, notes.shown, *sections, *said, *trash]
        typed = [key, notes.shown, *notes.fields]
        for chosen in (cards.select, self._head.select):
            chosen(self._choose, typed, shown, **EACH)
        gr.on(notes.left, self._save, typed, [notes.shown, notes.answer], **EACH)
        self._rename.click(
            lambda key, wish: self._changed(key, wish, self._studio.library.rename, "Renamed to"),
            [key, self._name], [*file, self._moved], **PRIVATE,
        )  # fmt: skip
        self._move.click(
            lambda key, wish: self._changed(key, wish, self._studio.library.move, "Moved to"),
            [key, self._folder], [*file, self._moved], **PRIVATE,
        )  # fmt: skip
        gone = [key, self._head, self._form, self._moved, *trash]
        self._delete.click(self._throw_away, key, gone, **PRIVATE)
        self._undo.click(self._restore, self._token, [self._answer, self._undo], **PRIVATE)

    def _choose(self, event: gr.EventData, key: str, before: Any, *values: Any) -> Update:
        try:
            save_changed(self._studio, key, before, list(values))
        except AppError as error:
            return {self._head: key, **self._unsaved(error)}
        card = self._studio.library.card_at(str(event._data["value"]))
        if card is None:
            return self._nothing()
        self._studio.history.look()
        used = self._studio.history.made_with(card.name, card.short_hash)[:PICTURES_SHOWN]
        return {
            **self._file(card),
            **self._notes.show(card),
            self._form: gr.update(visible=True),
            self._pictures: [str(path) for path in used],
            self._vectors: facts.vectors(self._studio, card),
            self._inside: facts.inside(self._studio, card),
            **self._quality.show(card),
            self._moved: "",
            self._answer: "",
            self._undo: gr.update(visible=False),
        }

    def _file(self, card: Card) -> Update:
        """Return what depends on where the file lies."""
        return {
            self._key: card.key,
            self._head: card.key,
            self._about: facts.about(self._studio, card),
            self._downloads: _downloads(card),
            self._name: card.name,
            self._folder: card.folder,
        }

    def _nothing(self) -> Update:
        return {self._key: "", self._head: "", self._form: gr.update(visible=False)}

    def _save(self, key: str, before: Any, *values: Any) -> Update:
        try:
            changed = save_changed(self._studio, key, before, list(values))
        except AppError as error:
            return self._unsaved(error)
        if not changed:
            return {self._notes.answer: gr.skip()}
        return {
            self._notes.shown: list(values),
            self._notes.answer: message("Notes saved.", "good"),
        }

    def _unsaved(self, error: AppError) -> Update:
        return {self._notes.answer: message(f"The notes are not saved: {error}", "bad")}

    def _changed(
        self, key: str, wish: str | None, change: Callable[[str, str, Path], Card], said: str
    ) -> Update:
        try:
            card = existing(self._studio, key)
            card = change(card.name, (wish or "").strip(), card.path)
        except AppError as error:
            return {self._moved: message(str(error), "bad")}
        where = card.name if said.startswith("Renamed") else f"{card.folder}/".lstrip("/")
        return {
            **self._file(card),
            self._moved: message(f"{said} {where or 'the top level'}.", "good"),
        }

    def _throw_away(self, key: str) -> Update:
        try:
            card = existing(self._studio, key)
            token = self._studio.library.delete(card.name, card.path)
        except AppError as error:
            return {self._moved: message(str(error), "bad")}
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
            return {self._answer: message(str(error), "bad")}
        return {
            self._answer: message("Restored.", "good"),
            self._undo: gr.update(visible=False),
        }


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
