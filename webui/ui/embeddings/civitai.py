"""The button that asks CivitAI about the embeddings, and what came of it."""

from __future__ import annotations

import gradio as gr

from webui.studio.civitai import LookupState
from webui.studio.studio import Studio
from webui.ui.markup import message, progress
from webui.ui.polling import Poll

HELP = (
    "Sends the SHA-256 of embeddings without a .civitai.info beside them to civitai.com, and keeps "
    "what it answers, with a preview where there is none. Nothing is sent before you press it."
)


def build(studio: Studio, poll: Poll) -> None:
    """Build the section inside the open Blocks; nothing where the settings forbid it."""
    if not studio.settings.civitai:
        return
    with gr.Accordion("CivitAI", open=False, elem_id="civitai"):
        look = gr.Button("Look up on CivitAI", size="sm", elem_id="civitai-look-up")
        gr.HTML(f'<p class="hint">{HELP}</p>', js_on_load=None)
        answer = gr.HTML(elem_id="civitai-answer", js_on_load=None)
    look.click(
        studio.civitai.start,
        None,
        None,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    poll.watch(
        version=lambda: studio.civitai.state.version,
        render=lambda: [
            _said(studio.civitai.state),
            gr.update(interactive=not studio.civitai.state.running),
        ],
        outputs=[answer, look],
    )


def _said(state: LookupState) -> str:
    if state.running:
        return progress(state.asked, state.total or 1, f"{state.asked} of {state.total} asked")
    if not state.version:
        return ""
    found = f"{state.found} of {state.total} embeddings were found on CivitAI."
    if not state.total:
        found = "There is nothing to look up: what CivitAI says lies beside every embedding."
    problem = message(state.problem, "bad") if state.problem else ""
    return problem + message(found, "good" if state.found or not state.total else "")
