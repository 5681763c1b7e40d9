"""The controls of the txt2img tab: what a request is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import gradio as gr

from webui.errors import BadField
from webui.generation.request import EMPHASES, SIZE_STEP, GenerationRequest, checked
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES
from webui.generation.upscaling import UPSCALERS
from webui.models.families import FAMILIES
from webui.studio.generating import default_request
from webui.studio.studio import Studio
from webui.ui.polling import Poll

FROM_MODEL = ("sampler", "steps", "cfg_scale", "width", "height")
"""Controls that take what the loaded checkpoint recommends."""
SDXL_SIZES = [
    "1024×1024",
    "896×1152",
    "832×1216",
    "768×1344",
    "1152×896",
    "1216×832",
    "1344×768",
]


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
    late_schedules: gr.Checkbox
    subseed: gr.Number
    subseed_strength: gr.Slider
    hires: gr.Checkbox
    hires_upscaler: gr.Dropdown
    hires_scale: gr.Number
    hires_width: gr.Number
    hires_height: gr.Number
    hires_steps: gr.Number
    denoising_strength: gr.Slider
    styles: gr.Dropdown
    save_grid: gr.Checkbox

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
    return GenerationRequest(**(given | whole | {"styles": tuple(given["styles"])}))


def restored(saved: Any) -> dict[str, Any]:
    """Return what can be used of the values by field that a browser has kept.

    Values of another kind than the field's, outside its limits, or no longer there are left out.
    """
    kept = saved if isinstance(saved, dict) else {}
    usable: dict[str, Any] = {}
    for field in FIELDS:
        value, usual = kept.get(field), getattr(_USUAL, field)
        if isinstance(usual, float) and type(value) is int:
            value = float(value)
        if isinstance(usual, tuple):
            value = tuple(value) if isinstance(value, list) else None
        if type(value) is not type(usual):
            continue
        try:
            checked(
                replace(
                    _USUAL, **({"prompt": "a", "hires": True} | ({field: value} if value else {}))
                )
            )
        except BadField:
            continue
        usable[field] = list(value) if isinstance(value, tuple) else value
    return usable


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
        label="Styles",
        elem_id="styles",
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

    ``last_seed`` holds the seed of the newest picture, for the button that takes it again.
    """
    made: dict[str, gr.components.Component] = {
        "prompt": prompt,
        "negative_prompt": negative,
        "styles": styles,
    }
    with gr.Row(elem_classes=["narrow"]):
        made["sampler"] = _choice("sampler", "Sampling method", SAMPLERS)
        made["schedule_type"] = _choice("schedule_type", "Schedule type", SCHEDULE_TYPES)
        made["steps"] = _number("steps", "Steps")
    with gr.Row(elem_classes=["narrow"]):
        made["width"] = _number("width", "Width", step=8)
        made["height"] = _number("height", "Height", step=8)
        swap = _icon("⇅", "swap-size")
        presets = gr.Dropdown(
            [], value=None, label="Usual sizes", elem_id="size-presets", min_width=120
        )
    with gr.Row(elem_classes=["narrow"]):
        made["cfg_scale"] = _number("cfg_scale", "CFG scale", step=0.5)
        made["seed"] = _number("seed", "Seed (−1 is a new one)", scale=2)
        dice = _icon("🎲", "random-seed")
        reuse = _icon("♻️", "reuse-seed")
    with gr.Row(elem_classes=["narrow"]):
        made["batch_count"] = _number("batch_count", "Batch count")
        made["batch_size"] = _number("batch_size", "Batch size")
        made["clip_skip"] = _number("clip_skip", "Clip skip")
    made |= _second_pass() | _extra() | _prompt_reading()
    poll.watch(lambda: _sizes(studio), lambda: [gr.update(choices=_sizes(studio))], [presets])
    _connect_buttons(made, dice, reuse, last_seed, swap, presets)
    return Controls(**made)


def _second_pass() -> dict[str, gr.components.Component]:
    """Build the controls of hires fix in a closed accordion."""
    with gr.Accordion("Hires. fix", open=False, elem_id="hires-settings"):
        hires = gr.Checkbox(
            label="Enlarge the picture and draw it over in a second pass", elem_id="hires"
        )
        with gr.Row(elem_classes=["narrow"]):
            upscaler = _choice("hires_upscaler", "Upscaler", UPSCALERS)
            scale = _number("hires_scale", "Upscale by", step=0.05, precision=2)
            steps = _number("hires_steps", "Steps (0: as many)")
        with gr.Row(elem_classes=["narrow"]):
            width = _number("hires_width", "Or to width (0: by factor)", step=8)
            height = _number("hires_height", "Or to height", step=8)
        strength = _strength(
            "denoising_strength",
            "Denoising strength",
            "Latent upscalers need 0.5 or more; Lanczos is good from 0.3.",
        )
    return {
        "hires": hires,
        "hires_upscaler": upscaler,
        "hires_scale": scale,
        "hires_steps": steps,
        "hires_width": width,
        "hires_height": height,
        "denoising_strength": strength,
    }


def _extra() -> dict[str, gr.components.Component]:
    """Build the variation of a seed and the grid in a closed accordion."""
    with gr.Accordion("Extra: variations, grid", open=False, elem_id="extra-settings"):
        with gr.Row(elem_classes=["narrow"]):
            subseed = _number("subseed", "Variation seed (−1 is a new one)")
            strength = _strength(
                "subseed_strength",
                "Variation strength",
                "How far from the seed's picture to the variation seed's.",
            )
        grid = gr.Checkbox(
            label="Also save the pictures of a request side by side, as grid-*.png",
            elem_id="save-grid",
        )
    return {"subseed": subseed, "subseed_strength": strength, "save_grid": grid}


def _prompt_reading() -> dict[str, gr.components.Component]:
    """Build what decides how prompts are read in a closed accordion."""
    with gr.Accordion("How prompts are read", open=False, elem_id="prompt-settings"):
        emphasis = _choice(
            "emphasis", "Emphasis", EMPHASES, info="How weights such as (word:1.2) act."
        )
        anywhere = gr.Checkbox(
            label="Find names of embeddings inside other words, as AUTOMATIC1111 does",
            elem_id="match-anywhere",
        )
        late = gr.Checkbox(
            label="Switch [a:b:10] and [a|b] one step later, as AUTOMATIC1111 does",
            elem_id="late-schedules",
        )
    return {"emphasis": emphasis, "match_anywhere": anywhere, "late_schedules": late}


def recommended(studio: Studio) -> list[Any] | None:
    """Return the values of ``FROM_MODEL`` that suit the loaded model; None while none is loaded."""
    model = studio.models.state.model
    if model is None:
        return None
    request = default_request(model.defaults)
    return [getattr(request, field) for field in FROM_MODEL]


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


def _strength(field: str, label: str, info: str) -> gr.Slider:
    return gr.Slider(
        0,
        1,
        value=getattr(_USUAL, field),
        step=0.01,
        label=label,
        info=info,
        elem_id=element_id(field),
        min_width=180,
        buttons=[],
        interactive=True,
    )


def _number(
    field: str, label: str, step: float = 1, precision: int = 1, **options: Any
) -> gr.Number:
    value = getattr(_USUAL, field)
    return gr.Number(
        value,
        label=label,
        precision=0 if isinstance(value, int) else precision,
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
    made: Mapping[str, gr.components.Component],
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
