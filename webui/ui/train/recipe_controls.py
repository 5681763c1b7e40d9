"""Controls for the settings of a recipe, made of their declarations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_origin

import gradio as gr

from webui.training.presets import decided_by_presets
from webui.training.recipe import SETTINGS, Recipe, Setting
from webui.training.runs import tracking

SHOWN = {name: setting for name, setting in SETTINGS.items() if setting.page != "own"}
"""The settings that have a control made here."""
PRESET = tuple(name for name in decided_by_presets() if name in SHOWN)
"""Those of them that a preset sets; the others stay as a person has left them."""


def element_id(name: str) -> str:
    """Return the id in the page of the control of a setting, or of another field of the form."""
    return f"train-{name.replace('_', '-')}"


def make() -> dict[str, Any]:
    """Return a control for each setting, in no place of the page yet; see ``lay_out``."""
    controls = {name: _control(setting) for name, setting in SHOWN.items()}
    controls["tensorboard"].visible = tracking.available()
    return controls


def lay_out(controls: Mapping[str, Any], page: str) -> None:
    """Put the controls of one accordion where the open Blocks are, checkboxes last."""
    here = [name for name, setting in SHOWN.items() if setting.page == page]
    ticked = [name for name in here if SHOWN[name].type is bool]
    with gr.Row(elem_classes=["narrow"]):
        for name in here:
            if name not in ticked:
                controls[name].render()
    for name in ticked:
        controls[name].render()


def shown(recipe: Recipe, name: str) -> Any:
    """Return what the control of a setting shows for a recipe."""
    value = getattr(recipe, name)
    return "\n".join(value) if isinstance(value, tuple) else value


def read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe's settings for the controls' values; BadField where a number is missing."""
    return {name: _read(setting, values[name]) for name, setting in SHOWN.items()}


def _read(setting: Setting, value: Any) -> Any:
    if get_origin(setting.type) is tuple:
        return tuple(line.strip() for line in (value or "").splitlines() if line.strip())
    return setting.check(value)


def _control(setting: Setting) -> Any:
    kind, usual = setting.type, setting.default
    common: dict[str, Any] = {
        "label": setting.page_label,
        "info": setting.help if setting.page == "advanced" or kind is bool else None,
        "elem_id": element_id(setting.name),
        "render": False,
    }
    if kind is bool:
        return gr.Checkbox(usual, **common)
    common["min_width"] = 150
    if isinstance(setting.choices, Mapping):
        labels = [(label, value) for value, label in setting.choices.items()]
        return gr.Dropdown(labels, value=usual, **common)
    if setting.choices:
        return gr.Dropdown(list(setting.choices), value=usual, **common)
    if setting.slider:
        low, high, step = setting.slider
        return gr.Slider(low, high, usual, step=step, buttons=[], **common)
    if kind in (int, float):
        return gr.Number(usual, precision=0 if kind is int else None, **common)
    if kind is str:
        return gr.Textbox(usual, max_lines=1, **common)
    return gr.Textbox("\n".join(usual), lines=2, placeholder="One a line", **common)
