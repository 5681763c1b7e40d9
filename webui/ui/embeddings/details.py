"""The panel about one embedding: what it is, its notes, its picture, its uses and its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from webui.embeddings.formats import SUFFIXES
from webui.embeddings.library import Card, Notes
from webui.errors import AppError
from webui.generation.request import default_request
from webui.images import open_picture
from webui.studio.card_feed import call
from webui.studio.studio import Studio
from webui.ui.embeddings import facts as embedding_facts
from webui.ui.markup import message, progress

SIDES = {"either prompt": "", "the prompt": "positive", "the negative prompt": "negative"}
NOTHING_CHOSEN = "Choose ⋯ on a card to see its details, write notes, rename or delete it."
PICTURES_SHOWN = 12
KINDS = {
    "safetensors": "for everything",
    "a1111": "for AUTOMATIC1111 and Forge",
    "diffusers": "for diffusers",
    "picture": "a picture to share",
}
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(studio: Studio, cards: gr.HTML) -> None:
    """Build the panel inside the open Blocks; it shows what is chosen in ``cards``."""
    key = gr.Textbox(visible="hidden", elem_id="details-key")
    about = gr.HTML(message(NOTHING_CHOSEN), elem_id="details", js_on_load=None)
    answer = gr.HTML(elem_id="details-answer", js_on_load=None)
    with gr.Column(visible=False, elem_id="details-form") as form:
        with gr.Accordion("Notes", open=True):
            notes, save = _note_fields()
        with gr.Accordion("Picture on the card", open=False, elem_id="details-picture"):
            with gr.Row(elem_classes=["narrow"]):
                take = gr.Button("Take the last picture made", size="sm", elem_id="take-preview")
                draw = gr.Button("Draw one", size="sm", elem_id="draw-preview")
            own = gr.UploadButton(
                "Choose a file", size="sm", file_types=["image"], elem_id="upload-preview"
            )
            drawing = gr.HTML(js_on_load=None)
        with gr.Accordion("Used in", open=False, elem_id="details-uses"):
            pictures = gr.Gallery(
                show_label=False,
                columns=4,
                height="auto",
                object_fit="contain",
                interactive=False,
                buttons=["fullscreen"],
            )
        with gr.Accordion("Vectors", open=False, elem_id="details-vectors"):
            vectors = gr.HTML(js_on_load=None)
        with gr.Accordion("Text inside the file", open=False, elem_id="details-inside"):
            inside = gr.HTML(js_on_load=None)
        with gr.Accordion("File", open=False, elem_id="details-file"):
            downloads = gr.HTML(js_on_load=None, elem_id="downloads")
            name = gr.Textbox(label="Name, which is what is written in a prompt", max_lines=1)
            rename = gr.Button("Rename", size="sm", elem_id="rename-embedding")
            folder = gr.Textbox(label="Folder", placeholder="none: beside the others", max_lines=1)
            move = gr.Button("Move", size="sm", elem_id="move-embedding")
            delete = gr.Button("Delete", variant="stop", size="sm", elem_id="delete-embedding")
    token = gr.Textbox(visible="hidden")
    undo = gr.Button("Undo delete", size="sm", visible=False, elem_id="undo-delete")

    panel = [key, about, form, *notes, pictures, vectors, inside, downloads, name, folder]

    def chosen(event: gr.EventData) -> list[Any]:
        return [*_show(studio, studio.library.card_at(str(event._data["value"]))), ""]

    def kept(key: str, *values: Any) -> str:
        try:
            card = _existing(studio, key)
            studio.library.save_notes(card.name, _notes(*values), card.path)
        except AppError as error:
            return message(str(error), "bad")
        return message("Notes saved.", "good")

    def renamed(key: str, wish: str) -> list[Any]:
        try:
            card = _existing(studio, key)
            card = studio.library.rename(card.name, (wish or "").strip(), card.path)
        except AppError as error:
            return _refused(panel, error)
        return [*_show(studio, card), message(f"Renamed to {card.name}.", "good")]

    def moved(key: str, wish: str) -> list[Any]:
        try:
            card = _existing(studio, key)
            card = studio.library.move(card.name, (wish or "").strip(), card.path)
        except AppError as error:
            return _refused(panel, error)
        where = f"into {card.folder}/" if card.folder else "to the top"
        return [*_show(studio, card), message(f"Moved {where}.", "good")]

    def deleted(key: str) -> list[Any]:
        try:
            card = _existing(studio, key)
            trashed = studio.library.delete(card.name, card.path)
        except AppError as error:
            return [*_refused(panel, error), gr.skip(), gr.skip()]
        said = message(f"{card.name} lies in the trash now, for 30 days.", "good")
        return [*_show(studio, None), said, trashed, gr.update(visible=True)]

    def brought_back(trashed: str) -> list[Any]:
        try:
            studio.library.undo_delete(trashed)
        except AppError as error:
            return [message(str(error), "bad"), gr.skip()]
        return [message("It is back.", "good"), gr.update(visible=False)]

    def taken(key: str) -> str:
        studio.history.look()
        newest = studio.history.newest()
        if newest is None:
            return message("No picture was made yet. Generate one first, or draw one.", "warn")
        return _set_preview(studio, key, newest)

    cards.select(chosen, None, [*panel, answer], **PRIVATE)
    save.click(kept, [key, *notes], answer, **PRIVATE)
    rename.click(renamed, [key, name], [*panel, answer], **PRIVATE)
    move.click(moved, [key, folder], [*panel, answer], **PRIVATE)
    delete.click(deleted, key, [*panel, answer, token, undo], **PRIVATE)
    undo.click(brought_back, token, [answer, undo], **PRIVATE)
    take.click(taken, key, drawing, **PRIVATE)
    own.upload(
        lambda key, path: _set_preview(studio, key, Path(path)), [key, own], drawing, **PRIVATE
    )
    draw.click(lambda key: (yield from _drawn(studio, key)), key, drawing, **PRIVATE)


def _note_fields() -> tuple[list[gr.components.Component], gr.Button]:
    """Build the fields of the notes, in the order of ``_notes``, and the button that saves them."""
    description = gr.Textbox(label="Description", lines=2, elem_id="details-description")
    notes = gr.Textbox(label="Notes", lines=2, elem_id="details-notes")
    tags = gr.Textbox(
        label="Tags", placeholder="portrait, ink", max_lines=1, elem_id="details-tags"
    )
    with gr.Row(elem_classes=["narrow"]):
        side = gr.Dropdown(list(SIDES), label="A click writes into", min_width=130)
        weight = gr.Number(label="with weight", value=1, step=0.1, min_width=80, precision=2)
    explicit = gr.Checkbox(
        label="Only when called as <name>", info="For names that are ordinary words."
    )
    save = gr.Button("Save notes", variant="primary", size="sm", elem_id="save-notes")
    return [description, notes, tags, side, weight, explicit], save


def _notes(
    description: str | None,
    notes: str | None,
    tags: str | None,
    side: str,
    weight: float | None,
    explicit: bool,
) -> Notes:
    return Notes(
        description=description or "",
        notes=notes or "",
        preferred_weight=None if weight in (None, 1) else float(weight),
        side=SIDES.get(side, ""),
        explicit_only=bool(explicit),
        tags=tuple(dict.fromkeys(tag.strip() for tag in (tags or "").split(",") if tag.strip())),
    )


def _existing(studio: Studio, key: str) -> Card:
    """Return the card of a file. Raises AppError if it is gone."""
    card = studio.library.card_at(key)
    if card is None:
        raise AppError("The file is gone. It may have been moved or deleted meanwhile.")
    return card


def _refused(panel: list[gr.components.Component], error: AppError) -> list[Any]:
    return [*[gr.skip()] * len(panel), message(str(error), "bad")]


def _show(studio: Studio, card: Card | None) -> list[Any]:
    """Return the panel's values for a card, in the order of ``panel``."""
    if card is None:
        return ["", message(NOTHING_CHOSEN), gr.update(visible=False), *[gr.skip()] * 12]
    studio.history.look()
    notes = card.notes
    used = studio.history.made_with(card.name, card.short_hash)[:PICTURES_SHOWN]
    return [
        card.key,
        embedding_facts.about(studio, card),
        gr.update(visible=True),
        notes.description,
        notes.notes,
        ", ".join(notes.tags),
        next(label for label, side in SIDES.items() if side == notes.side),
        notes.preferred_weight or 1,
        notes.explicit_only,
        [str(path) for path in used],
        embedding_facts.vectors(studio, card),
        embedding_facts.inside(studio, card),
        _downloads(card),
        card.name,
        card.folder,
    ]


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


def _set_preview(studio: Studio, key: str, picture: Path) -> str:
    """Make a picture the one on a card and say so."""
    try:
        card = _existing(studio, key)
        studio.library.set_preview(card.name, open_picture(picture), card.path)
    except AppError as error:
        return message(str(error), "bad")
    return message("The card shows it now.", "good")


def _drawn(studio: Studio, key: str) -> Iterator[str]:
    """Draw a picture of an embedding and put it on its card; yields how far it is."""
    try:
        card = _existing(studio, key)
        model = studio.models.state.model
        if model is None:
            raise AppError("No model is loaded yet. Try again in a moment.")
        if reason := studio.why_unusable(card):
            raise AppError(reason)
        job = studio.generating.start(
            default_request(model.defaults, **_preview_prompts(card, model.defaults))
        )
    except AppError as error:
        yield message(str(error), "bad")
        return
    for view in job.updates():
        yield progress(view.step, view.steps or 1, "Drawing …")
    if job.view.pictures:
        yield _set_preview(studio, key, job.view.pictures[-1].path)
    else:
        yield message(job.view.problem or "The drawing was interrupted.", "warn")


def _preview_prompts(card: Card, defaults: dict[str, Any]) -> dict[str, str]:
    """Return the prompts of a card's picture: the thing itself, or what it keeps away."""
    if card.notes.side != "negative":
        return {"prompt": call(card)}
    examples = defaults.get("example_prompts") or ["a portrait of a person"]
    return {"prompt": examples[0], "negative_prompt": call(card)}
