"""The panel under the header that fetches a model from Hugging Face, only when asked."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webui.errors import AppError, BadField
from webui.models.download import in_words
from webui.studio.downloads import DownloadState
from webui.studio.studio import Studio
from webui.ui.fields import field_messages, message_setter
from webui.ui.markup import message, progress
from webui.ui.polling import Poll
from webui.ui.toasts import failure

INFO = (
    "An id of Hugging Face, such as owner/name: a diffusers folder of Stable Diffusion 1.x, 2.x or "
    "SDXL. It takes 2 to 7 GB of disk; nothing is fetched before you press the button."
)


_TOGGLE = """() => {
    const open = document.body.classList.toggle("getting-model");
    document.querySelector("#open-get-model").setAttribute("aria-expanded", open);
    if (open) document.querySelector("#get-model input, #get-model textarea").focus();
}"""
"""The body bears the class: Gradio writes those of its own elements anew."""


def build(studio: Studio, poll: Poll, button: gr.Button) -> None:
    """Build the panel inside the open Blocks; ``button`` opens and closes it."""
    button.click(None, None, None, js=_TOGGLE, api_visibility="private")
    with gr.Group(elem_id="get-model"):
        with gr.Row(elem_classes=["narrow"]):
            repo_id = gr.Textbox(
                label="Model to download",
                info=INFO,
                placeholder="owner/name",
                max_lines=1,
                max_length=300,
                scale=4,
                min_width=220,
                elem_id="get-model-id",
            )
            with gr.Column(scale=1, min_width=140):
                start = gr.Button("Download", elem_id="get-model-start")
                cancel = gr.Button("Cancel", visible=False, elem_id="get-model-cancel")
                load = gr.Button("Load it", visible=False, elem_id="get-model-load")
        said = gr.HTML(elem_id="get-model-state", js_on_load=None)
    setter = message_setter()
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    downloads = studio.downloads

    def ask(text: str) -> dict[str, Any]:
        try:
            downloads.start(text)
        except BadField as problem:
            return field_messages({"get-model-id": str(problem)})
        except AppError as problem:
            raise failure(problem) from problem
        return field_messages({})

    def load_it() -> None:
        try:
            studio.models.switch(downloads.state.name)
        except AppError as problem:
            raise failure(problem) from problem

    start.click(ask, repo_id, setter, **quiet)
    repo_id.submit(ask, repo_id, setter, **quiet)
    cancel.click(downloads.cancel, None, None, **quiet)
    load.click(load_it, None, None, **quiet)
    poll.watch(
        version=lambda: downloads.state.version,
        render=lambda: _show(downloads.state),
        outputs=[said, start, cancel, load],
    )


def _show(state: DownloadState) -> list[Any]:
    """Return the outputs for a download as it stands."""
    return [
        _said(state),
        gr.update(interactive=not state.running),
        gr.update(visible=state.running),
        gr.update(visible=not state.running and state.name is not None),
    ]


def _said(state: DownloadState) -> str:
    if not state.repo_id:
        return ""
    if state.running and state.cancelled:
        return message(f"Ending the download of {state.repo_id} …")
    if state.running and not state.total_bytes:
        return message(f"Asking Hugging Face about {state.repo_id} …")
    if state.running:
        done, total = in_words(state.done_bytes), in_words(state.total_bytes)
        return progress(
            state.done_bytes, state.total_bytes, f"{state.repo_id}: {done} of {total} are here"
        )
    if state.name:
        return message(
            f"{state.name} is in the models folder, and under Model from now on.", "good"
        )
    if state.problem:
        return message(state.problem, "bad")
    return message(
        f"The download of {state.repo_id} was cancelled. What has come stays; the same download "
        "goes on with it.",
        "warn",
    )
