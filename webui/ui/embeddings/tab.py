"""The Embeddings tab: all cards, the details of one, adding and removing files."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.ui.cards import card_grid
from webui.ui.embeddings import civitai, quality, several
from webui.ui.embeddings.details import Details
from webui.ui.markup import message
from webui.ui.polling import Poll


def build(studio: Studio, poll: Poll) -> None:
    """Build the tab inside the open Blocks."""
    with gr.Row(elem_id="embeddings-row"):
        with gr.Column(scale=5, min_width=300):
            _adding(studio)
            cards = card_grid("all-cards", actions=several.actions(studio))
            with gr.Accordion("Measure several", open=False, elem_id="measure-several"):
                quality.build_several(studio)
            civitai.build(studio, poll)
        with gr.Column(scale=3, min_width=290, elem_id="details-panel"):
            Details(studio).connect(cards)


def _adding(studio: Studio) -> None:
    """Build the button that files are added with, which those dropped on the cards press too."""
    with gr.Row(elem_id="add-embeddings", elem_classes=["narrow"]):
        files = gr.UploadButton("Add files", file_count="multiple", size="sm", min_width=90)
        refresh = gr.Button("Refresh", size="sm", elem_id="refresh", min_width=90)
        hint = "Or drop .pt, .bin, .safetensors and image embeddings on the cards."
        gr.HTML(f'<p class="hint">{hint}</p>', js_on_load=None)
    answer = gr.HTML(elem_id="add-answer", js_on_load=None)

    def add(paths: list[str] | None) -> str:
        said = []
        for path in map(Path, paths or []):
            try:
                card = studio.library.add_file(path, path.stem)
                said.append(message(f"Added {card.name}.", "good"))
            except AppError as error:
                said.append(message(f"{path.name} was not added: {error}", "bad"))
        return "".join(said)

    def look() -> str:
        studio.library.refresh()
        count = len(studio.library.snapshot().cards)
        return message(f"{count} embeddings found.", "good")

    files.upload(add, files, answer, api_visibility="private", show_progress="hidden")
    refresh.click(look, None, answer, api_visibility="private", show_progress="hidden")
