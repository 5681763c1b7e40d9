"""The controls of the txt2img tab, made of the declarations of a request's fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

import gradio as gr

from webui.errors import BadField
from webui.generation.request import (
    EXTRA,
    FIELDS,
    HIRES,
    MAX_PROMPT,
    PROMPT_PARSING,
    SAMPLING,
    SAVING,
    SIZE_STEP,
    GenerationRequest,
    RequestField,
    default_request,
)
from webui.generation.upscaling import UPSCALERS
from webui.models.families import FAMILIES
from webui.studio.studio import Studio
from webui.ui.polling import Poll
from webui.ui.theme import asset, icon_button

Control = gr.Textbox | gr.Number | gr.Slider | gr.Dropdown | gr.Checkbox
Controls = Mapping[str, Control]
"""The controls that make a request, by field, in the order of ``FIELDS``."""
FROM_MODEL = tuple(name for name, field in FIELDS.items() if field.from_model)
"""Controls that take what the loaded checkpoint recommends."""
SECTIONS = {
    HIRES: "hires-settings",
    EXTRA: "extra-settings",
    SAMPLING: "sampler-settings",
    PROMPT_PARSING: "prompt-settings",
    SAVING: "saving-settings",
}
"""The closed accordions below the main controls, and their ids in the page."""
HIRES_ROWS = (
    ("hires_upscaler", "hires_steps", "hires_cfg_scale"),
    ("denoising_strength",),
    ("hires_scale", "hires_width", "hires_height"),
    ("hires_sampler", "hires_schedule_type"),
    ("hires_prompt", "hires_negative_prompt"),
)
"""The controls of the second pass, in rows."""
IN_A_ROW = 2
"""Controls side by side in an accordion."""
MAX_SLIDER_STEPS = 512
"""Numbers with more values than this have no slider: a hand could not set it."""
SDXL_SIZES = [
    "1024×1024",
    "896×1152",
    "832×1216",
    "768×1344",
    "1152×896",
    "1216×832",
    "1344×768",
]


def read(values: Sequence[Any]) -> GenerationRequest:
    """Return the request of the controls' values, which come in the order of ``FIELDS``.

    Raises BadField for all controls that were left empty.
    """
    given = dict(zip(FIELDS, values, strict=True))
    problems: list[BadField] = []
    for name, value in given.items():
        if value is None or FIELDS[name].optional:
            try:
                given[name] = _read(FIELDS[name], value)
            except BadField as problem:
                problems.append(problem)
    BadField.raise_together(problems)
    return GenerationRequest(**(given | {"styles": tuple(given["styles"])}))


def restored(saved: Any) -> dict[str, Any]:
    """Return what can be used of the values by field that a browser has kept.

    Values of another kind than the field's, outside its limits, or no longer there are left out.
    """
    kept = saved if isinstance(saved, dict) else {}
    usable: dict[str, Any] = {}
    for name, field in FIELDS.items():
        if name in kept:
            try:
                written = isinstance(kept[name], str) and field.optional
                text = json.dumps(_read(field, kept[name]) if written else kept[name])
                value = field.from_json(text)
            except BadField:
                continue
            usable[name] = list(value) if isinstance(value, tuple) else value
    return usable


def _read(field: RequestField, value: Any) -> Any:
    """Return the value of a control that may be empty; raises BadField."""
    return field.check(None if value == "" else value)


def element_id(field: str) -> str:
    """Return the id in the page of a field's control."""
    return field.replace("_", "-")


def style_choice() -> gr.Dropdown:
    """Build the choice of styles; what is chosen is written out when the drawing starts."""
    return gr.Dropdown(
        [],
        value=[],
        multiselect=True,
        allow_custom_value=True,  # the list changes while the page is open
        label=FIELDS["styles"].label,
        elem_id="styles",
        elem_classes=["names"],
        min_width=150,
    )


def build(
    prompt: gr.Textbox,
    negative: gr.Textbox,
    styles: gr.Dropdown,
    last_seed: gr.Number,
    studio: Studio,
    poll: Poll,
) -> Controls:
    """Build the controls below the prompts inside the open Blocks.

    ``last_seed`` holds the seed of the image that is looked at, for the button that takes it again.
    """
    made: dict[str, Control] = {"prompt": prompt, "negative_prompt": negative, "styles": styles}
    with gr.Row(elem_classes=["narrow"]):
        made |= _controls("sampler", "schedule_type", "steps")
    with gr.Row(elem_classes=["narrow"]):
        with gr.Column(scale=4, min_width=180, elem_classes=["narrow"]):
            made |= _controls("width", "height")
        swap = icon_button("Swap width and height", "swap-size")
        with gr.Column(scale=3, min_width=150, elem_classes=["narrow"]):
            made |= _controls("batch_count", "batch_size")
    with gr.Row(elem_classes=["narrow"]):
        made |= _controls("cfg_scale")
        rest = [name for name, field in FIELDS.items() if not field.section and name not in made]
        made |= _controls(*(name for name in rest if name != "seed"))
    with gr.Row(elem_classes=["narrow"]):
        made |= _controls("seed")
        dice = icon_button("Random seed", "random-seed")
        reuse = icon_button("Reuse the last image's seed", "reuse-seed")
        presets = gr.Dropdown(
            [], value=None, label="Size presets", elem_id="size-presets", min_width=120
        )
    for section, elem_id in SECTIONS.items():
        with gr.Accordion(section, open=False, elem_id=elem_id):
            if section == HIRES:
                made |= _controls("hires")
                for row in HIRES_ROWS:
                    with gr.Row(elem_classes=["narrow"]):
                        made |= _controls(*row)
                continue
            made |= _section([field for field in FIELDS.values() if field.section == section])
    numbers = gr.HTML(
        value=None,
        html_template="",
        js_on_load=asset("numbers.js"),
        apply_default_css=False,
        elem_classes=["setter"],
    )
    poll.watch(lambda: suggested(studio), lambda: [_usual_numbers(studio)], [numbers])
    poll.watch(lambda: _sizes(studio), lambda: [gr.update(choices=_sizes(studio))], [presets])
    upscaler: Any = made["hires_upscaler"]
    upscaler.focus(
        lambda: gr.update(choices=[*UPSCALERS, *studio.drawing.upscalers()]),
        None,
        upscaler,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    _connect_buttons(made, dice, reuse, last_seed, swap, presets)
    return {name: made[name] for name in FIELDS}


def suggested(studio: Studio) -> list[Any] | None:
    """Return the values of ``FROM_MODEL`` that suit the loaded model; None while none is loaded."""
    model = studio.models.state.model
    if model is None:
        return None
    request = default_request(model.defaults)
    return [getattr(request, field) for field in FROM_MODEL]


def _usual_numbers(studio: Studio) -> dict[str, float]:
    """Return what numbers are where nobody says otherwise, by element id."""
    suits = dict(zip(FROM_MODEL, suggested(studio) or [], strict=False))
    return {
        element_id(name): suits.get(name, field.default)
        for name, field in FIELDS.items()
        if field.type in (int, float) and not field.optional
    }


def _sizes(studio: Studio) -> list[str]:
    """Return the sizes that the loaded model draws well, the square first; none without a model.

    SDXL was trained on these proportions at about a million pixels each; the others keep the
    short side, since larger areas repeat what is in the picture.
    """
    model = studio.models.state.model
    if model is None:
        return []
    if model.family == "sdxl":
        return SDXL_SIZES
    side = int(model.defaults.get("width", FAMILIES[model.family].size))
    longer = [int(side * part) // SIZE_STEP * SIZE_STEP for part in (1.25, 1.5)]
    pairs = [(side, side), *((side, long) for long in longer), *((long, side) for long in longer)]
    return [f"{width}×{height}" for width, height in pairs]


def _section(fields: Sequence[RequestField]) -> Controls:
    """Build the controls of an accordion: checkboxes alone, the others a few side by side."""
    made: dict[str, Control] = {}
    for alone, group in groupby(fields, lambda field: field.type is bool):
        names = [field.name for field in group]
        for start in range(0, len(names), IN_A_ROW):
            row = names[start : start + IN_A_ROW]
            if alone:
                made |= _controls(*row)
                continue
            with gr.Row(elem_classes=["narrow"]):
                made |= _controls(*row)
    return made


def _controls(*names: str) -> Controls:
    return {name: _control(FIELDS[name]) for name in names}


def _control(field: RequestField) -> Control:
    """Build the control that suits a field's type and limits."""
    common: dict[str, Any] = {
        "value": field.default,
        "label": field.page_label,
        "info": field.help if field.explained else None,
        "elem_id": element_id(field.name),
        "interactive": True,
    }
    if field.type is bool:
        return gr.Checkbox(**common)
    if field.choices:
        return gr.Dropdown(
            list(field.choices), min_width=130, allow_custom_value=field.more_choices, **common
        )
    if field.type is str:
        lines, most = (2, 6) if field.max_length == MAX_PROMPT else (1, 1)
        return gr.Textbox(lines=lines, max_lines=most, min_width=180, **common)
    if field.optional:  # Gradio's page shows and sends a number without a value as 0
        common |= {"value": "", "placeholder": field.note}
        return gr.Textbox(max_lines=1, min_width=90, **common)
    decimals = -int(Decimal(str(field.step)).as_tuple().exponent)
    common |= {"precision": 0 if field.type is int else decimals, "step": field.step}
    low, high = field.low, field.high
    if low is not None and high is not None and high - low <= MAX_SLIDER_STEPS * field.step:
        return gr.Slider(low, high, min_width=130, buttons=[], **common)
    return gr.Number(
        min_width=90,
        scale=2 if field.random else None,
        **common,
    )


def _connect_buttons(
    made: Controls,
    dice: gr.Button,
    reuse: gr.Button,
    last_seed: gr.Number,
    swap: gr.Button,
    presets: gr.Dropdown,
) -> None:
    """Connect the buttons that only change controls; they never ask the server."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    seed, size = made["seed"], [made["width"], made["height"]]
    dice.click(None, None, seed, js="() => -1", **quiet)
    reuse.click(None, last_seed, seed, js="(seed) => seed", **quiet)
    swap.click(None, size, size, js="(width, height) => [height, width]", **quiet)
    presets.input(None, presets, size, js="(size) => size.split('×').map(Number)", **quiet)
