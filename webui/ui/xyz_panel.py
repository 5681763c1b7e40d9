"""The X/Y/Z plot: three axes, and the grid in the place of the pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import gradio as gr

from webui.errors import BadField
from webui.generation.axis_values import write_list
from webui.generation.placement import MARKER
from webui.generation.xyz import AXES, FIELDS, MAX_CELLS, NOTHING
from webui.studio.generating import GenerationJob, JobView
from webui.studio.studio import Studio
from webui.ui import controls, results
from webui.ui.controls import Controls, element_id
from webui.ui.markup import message, progress
from webui.ui.results import Results

SHOWN_EVERY_S = 0.2
TRAINING_STEP = "Training step"
_OUTPUTS = [field.name for field in fields(Results)]
ABOUT = (
    f"Draws one picture for each combination of values, at most {MAX_CELLS}, all with one seed. "
    f"An embedding goes where {MARKER} stands in a prompt, else to the end of the prompt; its "
    "strength is that of the embedding that an axis put there, else of the first one called."
)


def build(studio: Studio, inputs: Controls, outputs: Results) -> None:
    """Build the panel inside the open Blocks, below the controls that its cells share."""
    with gr.Accordion("X/Y/Z plot", open=False, elem_id="xyz"):
        gr.HTML(message(ABOUT), js_on_load=None)
        kinds, values, fills = [], [], []
        for letter, field in zip("XYZ", FIELDS, strict=True):
            with gr.Row(elem_classes=["narrow"]):
                kinds.append(
                    gr.Dropdown(
                        list(AXES),
                        value=NOTHING,
                        label=f"{letter} type",
                        min_width=165,
                        elem_id=f"{letter.lower()}-type",
                    )
                )
                values.append(
                    gr.Textbox(
                        label=f"{letter} values",
                        max_lines=4,
                        min_width=165,
                        elem_id=element_id(field),
                    )
                )
                fills.append(
                    gr.Button(
                        "All",
                        visible=False,
                        scale=0,
                        elem_classes=["icon-button"],
                        elem_id=f"{letter.lower()}-fill",
                    )
                )
        run = gr.Dropdown(
            [], label="Training run", visible=False, elem_id="xyz-run", interactive=True
        )
        draw = gr.Button("Draw the plot", variant="primary", elem_id="draw-plot")
    _connect_axes(studio, kinds, values, fills, run)
    _connect_drawing(studio, inputs, outputs, [*kinds, *values, run], draw)


def _connect_axes(
    studio: Studio,
    kinds: list[gr.Dropdown],
    values: list[gr.Textbox],
    fills: list[gr.Button],
    run: gr.Dropdown,
) -> None:
    """Say at each axis what its values look like, and fill them in where they can be counted."""
    quiet: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }

    def choose(kind: str) -> list[Any]:
        axis = AXES[kind]
        return [
            gr.update(info=axis.hint),
            gr.update(visible=axis.choices is not None),
        ]

    def offer_runs(chosen: str | None, *names: str) -> Any:
        if TRAINING_STEP not in names:
            return gr.update(visible=False)
        found = [(f"{run.name} ({run.run_id})", run.run_id) for run in studio.plotting.runs()]
        known = [run_id for _, run_id in found]
        value = chosen if chosen in known else next(iter(known), None)
        return gr.update(choices=found, value=value, visible=True)

    def fill(kind: str, run_id: str | None) -> str:
        listed = AXES[kind].choices
        return write_list(listed(studio.plotting.here(run_id))) if listed else ""

    for kind, text, button in zip(kinds, values, fills, strict=True):
        kind.change(choose, kind, [text, button], **quiet)
        kind.change(offer_runs, [run, *kinds], run, **quiet)
        button.click(fill, [kind, run], text, **quiet)


def _connect_drawing(
    studio: Studio,
    inputs: Controls,
    outputs: Results,
    axes: list[gr.components.Component],
    draw: gr.Button,
) -> None:
    shared = inputs.components()

    def plot(*given: Any) -> Iterator[list[Any]]:
        of_axes = given[len(shared) :]
        chosen = list(zip(of_axes[:3], of_axes[3:6], strict=True))
        try:
            request = controls.read(given[: len(shared)])
            job = studio.plotting.start(request, chosen, of_axes[6])
        except BadField as error:
            yield results.refuse(error)
            raise gr.Error(str(error), print_exception=False) from error
        yield from _shown(studio, job)

    draw.click(
        plot,
        [*shared, *axes],
        outputs.components(),
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=8,
    )


def _shown(studio: Studio, job: GenerationJob) -> Iterator[list[Any]]:
    """Yield the outputs for a plot as it goes on; it also goes on without the page."""
    shown = -1
    for view in job.updates():
        fresh = view.version != shown
        yield _show(studio, job, view) if fresh else results.unchanged()
        shown = view.version
        if not view.ended:
            time.sleep(SHOWN_EVERY_S)


def _show(studio: Studio, job: GenerationJob, view: JobView) -> list[Any]:
    """Return the outputs for a plot; at its end the grid is looked at first."""
    shown = dict(zip(_OUTPUTS, results.show(view, job.id, studio), strict=True))
    if view.ended and view.grid is not None and shown["entries"]:
        last = len(shown["entries"]) - 1
        shown["gallery"] = {**shown["gallery"], "selected_index": last}
        shown |= {"infotext": view.grid.infotext, "chosen": last}
    if view.state == "done":
        said = f"Done: {len(view.pictures)} saved in outputs/txt2img, the grid in outputs/grids"
        shown["bar"] = progress(1, 1, said)
    return list(shown.values())
