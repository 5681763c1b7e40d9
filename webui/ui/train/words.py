"""What is learned, in words: the embedding's name and the initializer, with what is wrong."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.ui.markup import message
from webui.ui.train.recipe_controls import element_id

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}


def build(studio: Studio) -> dict[str, Any]:
    """Build the controls inside the open Blocks and return them by the names of the form."""
    with gr.Row(elem_classes=["narrow"]):
        with gr.Column(min_width=220, elem_classes=["narrow"]):
            name = _line("Name", "name", "What you will write in prompts, e.g. my_mug")
            overwrite = gr.Checkbox(
                label="Replace an embedding of this name", elem_id=element_id("overwrite")
            )
            name_said = gr.HTML(elem_id="train-name-said", js_on_load=None)
            use = gr.Button("Use", size="sm", visible=False, elem_id="train-use-name")
        with gr.Column(min_width=220, elem_classes=["narrow"]):
            initializer = _line(
                "Initializer", "initializer", "The words that come closest, e.g. star"
            )
            pieces = gr.HTML(elem_id="train-initializer-said", js_on_load=None)
    better = gr.Textbox(visible="hidden")

    def look(text: str, replaces: bool) -> dict[Any, Any]:
        if not text.strip() or studio.models.state.model is None:
            return {name_said: "", use: gr.update(visible=False), better: ""}
        wrong, near = studio.training.look_at_name(text.strip(), replaces)
        return {
            name_said: message(wrong, "bad") if wrong else "",
            use: gr.update(value=f"Use {near}", visible=bool(near)),
            better: near,
        }

    looked_at = ([name, overwrite], [name_said, use, better])
    name.blur(look, *looked_at, **QUIET)
    overwrite.change(look, *looked_at, **QUIET)
    use.click(
        lambda near: [near, "", gr.update(visible=False)], better, [name, name_said, use], **QUIET
    )
    initializer.blur(lambda text: _pieces(studio, text), initializer, pieces, **QUIET)
    return {"name": name, "overwrite": overwrite, "initializer": initializer}


def _line(label: str, name: str, info: str) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, max_lines=1, elem_id=element_id(name), min_width=140)


def _pieces(studio: Studio, text: str) -> str:
    """Say what the model reads an initializer as."""
    if not text.strip() or studio.models.state.model is None:
        return ""
    try:
        pieces = studio.training.initializer_pieces(text)
    except AppError as error:
        return message(str(error), "warn")
    if len(pieces) > len(text.split()):
        return message(
            f"The model does not know it as whole words and reads {' · '.join(pieces)}. A commoner "
            "word is a better start.",
            "warn",
        )
    return message(f"The model reads {' · '.join(pieces)}.")
