"""The controls of the txt2img tab: what a request is made of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from webui.errors import BadField
from webui.generation.request import EMPHASES, GenerationRequest
from webui.generation.samplers import SAMPLERS, SCHEDULE_TYPES
from webui.studio.generating import default_request
from webui.studio.studio import Studio

FROM_MODEL = ("sampler", "steps", "cfg_scale", "width", "height")
"""Controls that take what the loaded checkpoint recommends."""


@dataclass(frozen=True)
class Controls:
    """The controls that make a request; the names are those of GenerationRequest."""

    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    sampler: gr.Dropdown
    schedule_type: gr.Dropdown
    steps: gr.Number
    cfg_scale: gr.Number
    width: gr.Number
    height: gr.Number
    seed: gr.Number
    batch_size: gr.Number
    batch_count: gr.Number
    clip_skip: gr.Number
    emphasis: gr.Dropdown
    match_anywhere: gr.Checkbox

    def components(self) -> list[gr.components.Component]:
        """Return the controls in the order of ``FIELDS``."""
        return [getattr(self, name) for name in FIELDS]


FIELDS = tuple(field.name for field in fields(Controls))
_USUAL = GenerationRequest()


def read(values: tuple[Any, ...]) -> GenerationRequest:
    """Return the request of the controls' values, which come in the order of ``FIELDS``.

    Raises BadField for a control that was left empty.
    """
    given = dict(zip(FIELDS, values, strict=True))
    for field, value in given.items():
        if value is None:
            choice = isinstance(getattr(_USUAL, field), str)
            raise BadField(field, "Choose one." if choice else "Enter a number here.")
    whole = {key: int(value) for key, value in given.items() if type(getattr(_USUAL, key)) is int}
    return GenerationRequest(**(given | whole))


def element_id(field: str) -> str:
    """Return the id in the page of a field's control."""
    return field.replace("_", "-")


def build(prompt: gr.Textbox, negative: gr.Textbox, last_seed: gr.Number) -> Controls:
    """Build the controls below the prompts inside the open Blocks.

    ``last_seed`` holds the seed of the newest picture, for the button that takes it again.
    """
    with gr.Row(elem_classes=["narrow"]):
        sampler = _choice("sampler", "Sampling method", SAMPLERS)
        schedule = _choice("schedule_type", "Schedule type", SCHEDULE_TYPES)
        steps = _number("steps", "Steps")
    with gr.Row(elem_classes=["narrow"]):
        width = _number("width", "Width", step=8)
        height = _number("height", "Height", step=8)
        swap = _icon("⇅", "swap-size")
        cfg = _number("cfg_scale", "CFG scale", step=0.5)
    with gr.Row(elem_classes=["narrow"]):
        seed = _number("seed", "Seed (−1 is a new one)", scale=3)
        dice = _icon("🎲", "random-seed")
        reuse = _icon("♻️", "reuse-seed")
    with gr.Row(elem_classes=["narrow"]):
        batch_count = _number("batch_count", "Batch count")
        batch_size = _number("batch_size", "Batch size")
        clip_skip = _number("clip_skip", "Clip skip")
    with gr.Accordion("How prompts are read", open=False, elem_id="prompt-settings"):
        emphasis = _choice(
            "emphasis", "Emphasis", EMPHASES, info="How weights such as (word:1.2) act."
        )
        anywhere = gr.Checkbox(
            label="Find names of embeddings inside other words, as AUTOMATIC1111 does",
            elem_id="match-anywhere",
        )
    _connect_buttons(seed, dice, reuse, last_seed, width, height, swap)
    return Controls(
        prompt,
        negative,
        sampler,
        schedule,
        steps,
        cfg,
        width,
        height,
        seed,
        batch_size,
        batch_count,
        clip_skip,
        emphasis,
        anywhere,
    )


def recommended(studio: Studio) -> list[Any] | None:
    """Return the values of ``FROM_MODEL`` that suit the loaded model; None while none is loaded."""
    model = studio.models.state.model
    if model is None:
        return None
    request = default_request(model.defaults)
    return [getattr(request, field) for field in FROM_MODEL]


def _number(field: str, label: str, step: float = 1, **options: Any) -> gr.Number:
    value = getattr(_USUAL, field)
    return gr.Number(
        value,
        label=label,
        precision=0 if isinstance(value, int) else 1,
        step=step,
        min_width=90,
        elem_id=element_id(field),
        interactive=True,
        **options,
    )


def _choice(field: str, label: str, choices: Any, **options: Any) -> gr.Dropdown:
    return gr.Dropdown(
        list(choices),
        value=getattr(_USUAL, field),
        label=label,
        elem_id=element_id(field),
        min_width=130,
        **options,
    )


def _icon(text: str, elem_id: str) -> gr.Button:
    return gr.Button(text, elem_classes=["icon-button"], elem_id=elem_id, scale=0)


def _connect_buttons(
    seed: gr.Number,
    dice: gr.Button,
    reuse: gr.Button,
    last_seed: gr.Number,
    width: gr.Number,
    height: gr.Number,
    swap: gr.Button,
) -> None:
    """Connect the buttons that only change controls; they never ask the server."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    size = [width, height]
    dice.click(None, None, seed, js="() => -1", **quiet)
    reuse.click(None, last_seed, seed, js="(seed) => seed", **quiet)
    swap.click(None, size, size, js="(width, height) => [height, width]", **quiet)
