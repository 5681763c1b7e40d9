"""Sending a parameters text to the txt2img tab: its parts go into the controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from webui.errors import AppError
from webui.generation.infotext import read_infotext, read_settings
from webui.generation.png_info import MAX_TEXT
from webui.ui.controls import FIELDS, FROM_MODEL, Controls
from webui.ui.markup import message

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
        """Return the components in the order in which ``sent`` returns their values."""
        return [*self.controls.components(), self.held, self.messages]


def sent(text: str) -> list[Any]:
    """Return the values of ``Target.outputs`` that a parameters text stands for.

    What the text says nothing about stays as it is, and what could not be taken is told. Raises
    AppError for texts that are too long.
    """
    if len(text) > MAX_TEXT:
        raise AppError(f"The text is longer than the {MAX_TEXT:,} characters that are read.")
    request, pairs = read_infotext(text)
    settings = read_settings(pairs)
    # The styles of a picture are in its prompts already.
    values = {"styles": [], **settings.values}
    values |= {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    told = "".join(message(sentence, "warn") for sentence in settings.refused)
    return [
        *(values.get(field, gr.skip()) for field in FIELDS),
        [None] * len(FROM_MODEL),
        told,
    ]


def connect_paste(button: gr.Button, target: Target) -> None:
    """Make a button take the prompt box apart where a parameters text was pasted into it."""

    def take_apart(text: str) -> list[Any]:
        if len(text) <= MAX_TEXT and not read_infotext(text)[1]:
            raise gr.Error(NOT_PARAMETERS, print_exception=False)
        return told_sent(text)

    button.click(
        take_apart,
        target.controls.prompt,
        target.outputs(),
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def told_sent(text: str) -> list[Any]:
    """Return what ``sent`` does; what people can mend becomes a message of the page."""
    try:
        return sent(text)
    except AppError as error:
        raise gr.Error(str(error), print_exception=False) from error
