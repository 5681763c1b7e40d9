"""The line under a prompt box that shows what the prompt was understood as."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import gradio as gr

from webui.generation.request import MAX_PROMPT, MAX_STEPS
from webui.prompting.source import PromptSettings
from webui.studio.studio import Studio
from webui.ui.polling import Poll
from webui.ui.theme import asset


def build(studio: Studio, poll: Poll, box: gr.Textbox, *, negative: bool) -> None:
    """Add the line for a prompt box inside the open Blocks."""

    def look(asked: list[Any]) -> dict[str, Any] | None:
        if not isinstance(asked, list) or len(asked) != 4:
            return None
        text, negative, steps, anywhere = asked
        model = studio.models.state.model
        if model is None or not isinstance(text, str) or len(text) > MAX_PROMPT:
            return None
        from webui.prompting.xray import read

        return asdict(
            read(
                text,
                model.tokenizer,
                studio.library,
                model.widths,
                model.name,
                PromptSettings(match_anywhere=bool(anywhere)),
                steps=min(max(steps, 1), MAX_STEPS) if isinstance(steps, int) else 20,
                negative=bool(negative),
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
