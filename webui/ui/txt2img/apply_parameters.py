"""Sending a parameters text to the txt2img tab: its parts go into the controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from webui.generation.metadata.infotext import read_infotext, read_settings
from webui.generation.metadata.png_info import MAX_TEXT
from webui.generation.metadata.provenance import check_embeddings, with_names_here
from webui.studio.studio import Studio
from webui.ui.markup import message
from webui.ui.txt2img.controls import FIELDS, FROM_MODEL, Controls

NOT_PARAMETERS = (
    "There is no parameters text in the prompt box. Paste one that was copied with a picture: the "
    "prompt, and a last line that begins with “Steps:”."
)


@dataclass(frozen=True)
class Target:
    """What of the txt2img tab is set when parameters are sent to it."""

    controls: Controls
    held: gr.JSON
    """What the model suggested last; None in it keeps the next suggestion from a control."""
    messages: gr.HTML

    def outputs(self) -> list[gr.components.Component]:
        """Return the components in the order in which ``apply_infotext`` returns their values."""
        return [*self.controls.components(), self.held, self.messages]


def apply_infotext(studio: Studio, text: str) -> list[Any]:
    """Return the values of ``Target.outputs`` that a parameters text stands for.

    What the text says nothing about stays as it is, and what could not be taken is told.
    Embeddings that have another name here are called by that.
    """
    if len(text) > MAX_TEXT:
        return _only_told(f"The text is longer than the {MAX_TEXT:,} characters that are read.")
    request, pairs = read_infotext(text)
    settings = read_settings(pairs)
    cards = studio.library.snapshot().cards
    found = check_embeddings(request, pairs, cards)
    # The styles of a picture are in its prompts already.
    values: dict[str, Any] = {"styles": [], **settings.values}
    told = list(settings.refused)
    for field in ("prompt", "negative_prompt"):
        values[field] = with_names_here(getattr(request, field), found, cards)
        if values[field] != getattr(request, field):
            told.append(f"In the {field.replace('_', ' ')} embeddings go by their names here.")
    return [
        *(values.get(field, gr.skip()) for field in FIELDS),
        [None] * len(FROM_MODEL),
        "".join(message(sentence, "warn") for sentence in told),
    ]


def connect_paste(studio: Studio, button: gr.Button, target: Target) -> None:
    """Make a button take the prompt box apart where a parameters text was pasted into it."""

    def take_apart(text: str) -> list[Any]:
        if len(text) <= MAX_TEXT and not read_infotext(text)[1]:
            return _only_told(NOT_PARAMETERS)
        return apply_infotext(studio, text)

    button.click(
        take_apart,
        target.controls.prompt,
        target.outputs(),
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _only_told(sentence: str) -> list[Any]:
    """Return the outputs that change nothing and say why."""
    return [gr.skip()] * (len(FIELDS) + 1) + [message(sentence, "bad")]
