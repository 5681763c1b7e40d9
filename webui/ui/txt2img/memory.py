"""What a browser remembers of the txt2img tab, so that a reload brings it back.

The controls' values and the id of the newest job lie in the browser's own storage, and those of
one tab in the tab's; the server holds nothing per page.
"""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.generation.request import FIELDS
from webui.studio.studio import Studio
from webui.ui.polling import Poll
from webui.ui.txt2img import controls, results
from webui.ui.txt2img.controls import FROM_MODEL, Controls
from webui.ui.txt2img.results import Results

_QUIET: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}


def remember_controls(demo: gr.Blocks, studio: Studio, inputs: Controls, held: gr.JSON) -> None:
    """Keep the controls' values in the browser and bring them back when the page is loaded.

    ``held`` has what the model suggested last for ``FROM_MODEL``.
    """
    saved = gr.JSON(visible="hidden")
    fields, suggested = json.dumps(list(FIELDS)), json.dumps(FROM_MODEL)
    every = list(inputs.values())
    demo.load(None, None, saved, js="() => [window.txt2imgMemory.values()]", **_QUIET).then(
        lambda values: _restored(studio, inputs, saved, values), saved, [saved, *every], **_QUIET
    ).then(
        None,
        [saved, held],
        held,
        js=f"(values, held) => [window.txt2imgMemory.hold({suggested}, values, held)]",
        **_QUIET,
    )
    gr.on(
        [control.change for control in every],
        None,
        [held, *every],
        None,
        js=f"(held, ...values) => window.txt2imgMemory.keep({fields}, {suggested}, held, values)",
        **_QUIET,
    )


def _restored(
    studio: Studio, inputs: Controls, saved: gr.JSON, values: Any
) -> dict[Component, Any]:
    """Return what is usable of the values that a browser has kept, as ``saved`` and by control."""
    usable = controls.restored(values)
    if "styles" in usable:
        known = studio.styles.names()
        usable["styles"] = [name for name in usable["styles"] if name in known]
    return {saved: usable} | {inputs[field]: value for field, value in usable.items()}


def remember_job(demo: gr.Blocks, studio: Studio, poll: Poll, outputs: Results) -> gr.Textbox:
    """Show this browser's newest job again after a reload, while it goes on and after its end.

    Returns what holds the id of the job that is followed. A page that has started a job itself is
    told by that event's own answers and follows none.
    """
    followed = gr.Textbox(visible="hidden")
    demo.load(None, None, followed, js="() => window.txt2imgMemory.job()", **_QUIET)
    outputs.job.change(
        None,
        [outputs.job, followed],
        followed,
        js="(id, followed) => window.txt2imgMemory.keepJob(id, followed)",
        **_QUIET,
    )

    def version(job_id: str) -> list[Any]:
        job = studio.generating.current(job_id)
        queued = studio.generating.queued_behind(job) if job else 0
        return [job.id, job.view.version, queued] if job else []

    def render(job_id: str) -> dict[Component, Any]:
        job = studio.generating.current(job_id)
        if job is None:
            return {}
        return results.show(outputs, job, job.view, studio) | {followed: job.id}

    poll.follow(followed, version, render, [*outputs.components(), followed])
    return followed


def remember_forever(
    demo: gr.Blocks,
    outputs: Results,
    drawn: gr.events.Dependency,
    followed: gr.Textbox,
    forever: gr.Checkbox,
) -> None:
    """Press Generate again whenever a job is done, as long as this tab is there and wants it.

    ``drawn`` is the event of Generate, which tells of the jobs that this page started; that of
    before a reload is ``followed``. The tab remembers the tick and whether a job was going on, so
    that a reload takes it up and a tab that is opened anew draws nothing by itself.
    """
    demo.load(None, None, forever, js="() => window.txt2imgMemory.forever()", **_QUIET)
    forever.input(
        None, forever, None, js="(wanted) => window.txt2imgMemory.keepForever(wanted)", **_QUIET
    )
    drawn.success(
        None,
        [outputs.state, forever],
        forever,
        js="(state, wanted) => window.txt2imgMemory.again(state, wanted)",
        **_QUIET,
    )
    outputs.state.change(
        None,
        [outputs.state, followed, forever],
        forever,
        js="(...now) => window.txt2imgMemory.changed(...now)",
        **_QUIET,
    )
