"""The Embeddings tab: all cards, the details of one, adding and removing files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.ui.cards import card_grid
from webui.ui.embeddings import civitai, quality
from webui.ui.embeddings.details import Details
from webui.ui.markup import message
from webui.ui.polling import Poll


def build(studio: Studio, poll: Poll) -> None:
    """Build the tab inside the open Blocks."""
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            cards = card_grid("all-cards", details=True)
        with gr.Column(scale=3, min_width=290):
            _adding(studio)
            civitai.build(studio, poll)
            with gr.Accordion("Measure several", open=False, elem_id="measure-several"):
                quality.build_several(studio)
            Details(studio).connect(cards)


def _adding(studio: Studio) -> None:
    """Build the place where files are dropped."""
    files = gr.File(
        label="Add embeddings (.pt, .bin, .safetensors, image embeddings)",
        file_count="multiple",
        height=170,
        elem_id="add-embeddings",
    )
    answer = gr.HTML(elem_id="add-answer", js_on_load=None)
    refresh = gr.Button("Refresh", size="sm", elem_id="refresh")

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
        return message(f"{count} embeddings found.", "good")

    files.upload(add, files, [files, answer], api_visibility="private")
    refresh.click(look, None, answer, api_visibility="private", show_progress="hidden")
