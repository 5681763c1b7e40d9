"""Sending a parameters text to the txt2img tab: its parts go into the controls."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.generation.metadata.infotext import read_infotext, read_settings
from webui.generation.metadata.png_info import MAX_TEXT
from webui.generation.metadata.provenance import check_embeddings, with_names_here
from webui.generation.outputs import read_parameters
from webui.generation.request import FIELDS, PROMPTS
from webui.studio.studio import Studio
from webui.ui.markup import message
from webui.ui.txt2img import overrides, xyz_panel
from webui.ui.txt2img.controls import FROM_MODEL, Controls

NOTHING_TO_RECALL = "There is no image yet whose parameters could be recalled. Draw one first."
NOT_PARAMETERS = (
    "There is no parameters text in the prompt box. Paste one that was copied with an image: the "
    "prompt, and a last line that begins with “Steps:”."
)


@dataclass(frozen=True)
class Target:
    """What of the txt2img tab is set when parameters are sent to it."""

    controls: Controls
    held: gr.JSON
    """What the model suggested last; None in it keeps the next suggestion from a control."""
    messages: gr.HTML
    overrides: gr.Dropdown
    """Settings of the text that are no controls; they hold for what is drawn next."""

    axes: xyz_panel.Axes = ()
    """The axes of the X/Y/Z plot."""

    def outputs(self) -> list[Component]:
        """Return the components that ``apply_infotext`` may set."""
        return [
            *self.controls.values(),
            self.held,
            self.messages,
            self.overrides,
            *chain(*self.axes),
        ]


def apply_infotext(studio: Studio, target: Target, text: str) -> dict[Component, Any]:
    """Return the new values of what a parameters text sets.

    What the text says nothing about stays as it is, and messages say what could not be taken.
    """
    if len(text) > MAX_TEXT:
        sentence = f"The text is longer than the {MAX_TEXT:,} characters that are read."
        return {target.messages: message(sentence, "bad")}
    values, sentences = field_values(studio, text)
    pairs = read_infotext(text)[1]
    chips, missing = overrides.found(studio, pairs)
    sentences += missing
    return {
        **{target.controls[field]: value for field, value in values.items()},
        **xyz_panel.restored(target.axes, pairs),
        target.held: [None] * len(FROM_MODEL),
        target.overrides: gr.update(choices=chips, value=chips, visible=bool(chips)),
        target.messages: "".join(message(sentence, "warn") for sentence in sentences),
    }


def field_values(studio: Studio, text: str) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a request that a parameters text gives, and what could not be taken.

    Embeddings that have another name here are called by that.
    """
    request, pairs = read_infotext(text)
    settings = read_settings(pairs)
    cards = studio.library.snapshot().cards
    found = check_embeddings(request, pairs, cards)
    # The styles of a picture are in its prompts already.
    values: dict[str, Any] = {"styles": [], **settings.values}
    sentences = list(settings.refused)
    for field in PROMPTS:
        values[field] = with_names_here(getattr(request, field), found, cards)
        if values[field] != getattr(request, field):
            label = FIELDS[field].label.lower()
            sentences.append(f"In the {label} embeddings go by their names here.")
    return values, sentences


def connect_paste(studio: Studio, button: gr.Button, target: Target) -> None:
    """Make a button take the prompt box apart where a parameters text was pasted into it.

    Where the box is empty, it recalls the parameters of the newest image, as in AUTOMATIC1111.
    """

    def take_apart(text: str) -> dict[Component, Any]:
        if not text.strip():
            studio.history.look()
            newest = studio.history.newest()
            text = (newest and read_parameters(newest)) or ""
            if not text:
                return {target.messages: message(NOTHING_TO_RECALL, "warn")}
        if len(text) <= MAX_TEXT and not read_infotext(text)[1]:
            return {target.messages: message(NOT_PARAMETERS, "bad")}
        return apply_infotext(studio, target, text)

    button.click(
        take_apart,
        target.controls["prompt"],
        target.outputs(),
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
