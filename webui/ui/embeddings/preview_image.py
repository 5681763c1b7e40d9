"""The preview on a card: the last generated image, one generated for it, or a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from webui.embeddings.library import Card
from webui.errors import AppError
from webui.generation.request import default_request
from webui.images import open_picture
from webui.studio.card_feed import call
from webui.studio.studio import Studio
from webui.ui.markup import message, progress

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(studio: Studio, key: gr.Textbox) -> None:
    """Build the section inside the open Blocks; ``key`` holds the card's key."""
    with gr.Row(elem_classes=["narrow"]):
        take = gr.Button("Use last generated image", size="sm", elem_id="take-preview")
        draw = gr.Button("Generate preview", size="sm", elem_id="draw-preview")
    own = gr.UploadButton(
        "Choose a file", size="sm", file_types=["image"], elem_id="upload-preview"
    )
    answer = gr.HTML(js_on_load=None)

    def taken(key: str) -> str:
        studio.history.look()
        newest = studio.history.newest()
        if newest is None:
            return message("There is no image yet. Generate one first.", "warn")
        return set_preview(studio, key, newest)

    def drawn(key: str) -> Iterator[str]:
        yield from _drawn(studio, key)

    take.click(taken, key, answer, **PRIVATE)
    own.upload(
        lambda key, path: set_preview(studio, key, Path(path)), [key, own], answer, **PRIVATE
    )
    draw.click(drawn, key, answer, **PRIVATE)


def existing(studio: Studio, key: str) -> Card:
    """Return the card of a key. Raises AppError if it is gone."""
    card = studio.library.card_at(key)
    if card is None:
        raise AppError("The file is gone. It may have been moved or deleted meanwhile.")
    return card


def set_preview(studio: Studio, key: str, picture: Path) -> str:
    """Make an image the preview of a card and say so."""
    try:
        card = existing(studio, key)
        studio.library.set_preview(card.name, open_picture(picture), card.path)
    except AppError as error:
        return message(str(error), "bad")
    return message("The card shows it now.", "good")


def _drawn(studio: Studio, key: str) -> Iterator[str]:
    """Draw a picture of an embedding and put it on its card; yields how far it is."""
    try:
        card = existing(studio, key)
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
        yield set_preview(studio, key, job.view.pictures[-1].path)
    else:
        yield message(job.view.problem or "The drawing was interrupted.", "warn")


def _preview_prompts(card: Card, defaults: dict[str, Any]) -> dict[str, str]:
    """Return the prompts of a card's picture: the thing itself, or what it keeps away."""
    if card.notes.side != "negative":
        return {"prompt": call(card)}
    examples = defaults.get("example_prompts") or ["a portrait of a person"]
    return {"prompt": examples[0], "negative_prompt": call(card)}
