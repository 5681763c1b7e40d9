"""The line under a prompt box that shows what the prompt was understood as."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import gradio as gr

from webui.generation.request import EMPHASES, FIELDS, MAX_PROMPT, MAX_STEPS
from webui.prompting.source import PromptSettings
from webui.prompting.xray import read
from webui.studio.studio import Studio
from webui.ui.polling import Poll
from webui.ui.theme import asset
from webui.ui.txt2img.controls import Controls

SETTINGS = ("steps", "emphasis", "match_anywhere", "early_schedules", "old_timelines")
"""Fields of a request that decide how its prompts are read."""


def build(studio: Studio, poll: Poll, box: gr.Textbox, *, negative: bool) -> None:
    """Add the line for a prompt box inside the open Blocks."""

    def look(asked: list[Any]) -> dict[str, Any] | None:
        if not isinstance(asked, list) or len(asked) != 2 + len(SETTINGS):
            return None
        text, beside, steps, emphasis, anywhere, early, old = asked
        model = studio.models.state.model
        if model is None or not all(isinstance(one, str) for one in (text, beside, emphasis)):
            return None
        if len(text) > MAX_PROMPT or len(beside) > MAX_PROMPT:
            return None

        return asdict(
            read(
                text,
                model.tokenizer,
                studio.library,
                model.widths,
                model.name,
                PromptSettings(
                    emphasis=EMPHASES.get(emphasis, "original"),
                    match_anywhere=bool(anywhere),
                    late_schedules=not early,
                    old_timelines=bool(old),
                ),
                steps=min(max(steps, 1), MAX_STEPS) if isinstance(steps, int) else 20,
                negative=negative,
                loras=studio.settings.models_dir / "lora",
                beside=beside,
            )
        )

    line = gr.HTML(
        value="",
        html_template='<div class="xray" role="status"></div>',
        js_on_load=asset("xray.js"),
        apply_default_css=False,
        server_functions=[look],
        box=box.elem_id,
        negative=negative,
        settings=[FIELDS[name].default for name in SETTINGS],
    )
    tell = json.dumps(box.elem_id)
    box.change(
        None,
        box,
        None,
        js=f"(text) => {{ document.dispatchEvent(new CustomEvent('prompt:change', "
        f"{{ detail: {{ box: {tell}, text }} }})); return []; }}",
        api_visibility="private",
        show_progress="hidden",
    )
    # A changed library or model changes what the same words mean: the value only says "again".
    poll.watch(
        version=lambda: [studio.library.version, studio.models.state.version],
        render=lambda: [f"{studio.library.version}.{studio.models.state.version}"],
        outputs=[line],
    )


def connect(inputs: Controls) -> None:
    """Tell the lines of the settings that decide how prompts are read whenever they change."""
    chosen = [inputs[name] for name in SETTINGS]
    gr.on(
        [control.change for control in chosen],
        None,
        chosen,
        None,
        js="(...settings) => { document.dispatchEvent(new CustomEvent('prompt:settings', "
        "{ detail: settings })); return []; }",
        api_visibility="private",
        show_progress="hidden",
    )
