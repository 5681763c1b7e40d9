"""All training runs in a list: each can be opened, resumed, installed or deleted."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import gradio as gr

from webui.errors import AppError
from webui.job_state import JobState
from webui.studio.studio import Studio
from webui.training.runs.run_state import RunSnapshot
from webui.ui.markup import message
from webui.ui.polling import Poll
from webui.ui.theme import asset

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}


def build(studio: Studio, poll: Poll, opened: gr.Textbox) -> None:
    """Build the list inside the open Blocks; ``opened`` is given the id of the run to show."""
    with gr.Accordion("All runs", open=False, elem_id="train-runs"):
        # The script may run before other properties have arrived, so the template is fixed.
        rows = gr.HTML(
            value=[],
            html_template='<ul class="runs"></ul>',
            js_on_load=asset("runs.js"),
            apply_default_css=False,
            elem_id="train-runs-list",
        )
        answer = gr.HTML(elem_id="train-runs-answer", js_on_load=None)
        undo = gr.Button("Undo delete", size="sm", visible=False, elem_id="train-runs-undo")
    gone = gr.Textbox(visible="hidden")
    runs = studio.training
    poll.watch(lambda: list(runs.version()), lambda: [_rows(studio)], [rows])

    def act(shown: str, event: gr.EventData) -> dict[Any, Any]:
        run_id, action = event.value["run"], event.value["action"]
        try:
            said = _act(studio, str(run_id), str(action))
        except AppError as error:
            return {answer: message(str(error), "bad")}
        deleted = action == "delete"
        return {
            answer: message(said, "good") if said else "",
            opened: "" if deleted and shown == run_id else gr.skip() if deleted else run_id,
            undo: gr.update(visible=deleted),
            gone: run_id if deleted else "",
            rows: _rows(studio),
        }

    def bring_back(run_id: str) -> dict[Any, Any]:
        try:
            runs.restore(run_id)
        except AppError as error:
            return {answer: message(str(error), "bad")}
        return {
            answer: message("Restored.", "good"),
            opened: run_id,
            undo: gr.update(visible=False),
            rows: _rows(studio),
        }

    rows.select(act, opened, [answer, opened, undo, gone, rows], **QUIET)
    undo.click(bring_back, gone, [answer, opened, undo, rows], **QUIET)


def _act(studio: Studio, run_id: str, action: str) -> str:
    """Do with a run what a button of its row says; returns what to tell. AppError if impossible."""
    runs = studio.training
    if action == "resume":
        runs.resume(run_id)
    elif action == "install":
        files = ", ".join(path.name for path in runs.install_best(run_id))
        return f"{files} is installed."
    elif action == "delete":
        runs.discard(run_id)
        return f"Moved {run_id} to trash."
    else:
        runs.view(run_id)
    return ""


def _rows(studio: Studio) -> list[dict[str, Any]]:
    """Return what the list shows of each run, the latest first."""
    queue = studio.training.queue()
    return [_row(view, queue) for view in studio.training.runs()]


def _row(view: RunSnapshot, queue: tuple[str, ...]) -> dict[str, Any]:
    state = view.state.capitalize()
    if view.run_id in queue:
        state += f", turn {queue.index(view.run_id) + 1} of {len(queue)}"
    can = {
        "resume": view.state.resumable,
        "install": bool(view.checkpoints) and view.state is not JobState.QUEUED,
        "delete": view.state.ended,
    }
    return {
        "run": view.run_id,
        "name": view.name,
        "about": f"{state} · step {view.step} of {view.steps}",
        "created": view.record.created,
        "preview": f"gradio_api/file={quote(str(view.previews[-1][2]))}" if view.previews else None,
        "actions": [action for action, possible in can.items() if possible],
    }
