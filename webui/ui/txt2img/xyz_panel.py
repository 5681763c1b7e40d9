"""The X/Y/Z plot: three axes, and the grid in the place of the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.errors import BadField
from webui.generation.plots.axes import AXES, NOTHING, find_axis
from webui.generation.plots.axis_values import write_list
from webui.generation.plots.plan import MAX_CELLS
from webui.generation.plots.prompt_edit import MARKER
from webui.generation.plots.xyz import SCRIPT, VALUES
from webui.studio.studio import Studio
from webui.ui.markup import message
from webui.ui.txt2img import controls, overrides, results
from webui.ui.txt2img.controls import Controls, element_id
from webui.ui.txt2img.results import Results

Axes = Sequence[tuple[gr.Dropdown, gr.Textbox]]
"""Kind and values of the x, y and z axis."""
TRAINING_STEP = "Training step"
ABOUT = (
    f"A cell for each combination of values, at most {MAX_CELLS}, all from one seed. Write "
    f"{MARKER} into a prompt where an embedding of an axis is to go."
)
_SWAP = "(kind, other, values, others) => [other, kind, others, values]"
_QUIET: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}


def build(studio: Studio, inputs: Controls, outputs: Results, chips: gr.Dropdown) -> Axes:
    """Build the panel inside the open Blocks, below the controls that its cells share.

    ``chips`` are the override settings. Returns the controls of the axes.
    """
    with gr.Accordion("X/Y/Z plot", open=False, elem_id="xyz"):
        gr.HTML(message(ABOUT), js_on_load=None)
        kinds, values, fills = [], [], []
        for letter, field in zip("XYZ", VALUES, strict=True):
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
        with gr.Row(elem_classes=["narrow"]):
            swaps = [
                gr.Button(
                    f"Swap {one}/{other} axes", size="sm", elem_id=f"swap-{one}{other}".lower()
                )
                for one, other in ("XY", "YZ", "XZ")
            ]
        run = gr.Dropdown(
            [],
            label="Training run",
            visible=False,
            elem_id="xyz-run",
            elem_classes=["names"],
            interactive=True,
        )
        draw = gr.Button("Generate plot", variant="primary", elem_id="draw-plot")
    _connect_axes(studio, kinds, values, fills, run)
    for button, (one, other) in zip(swaps, ((0, 1), (1, 2), (0, 2)), strict=True):
        swapped = [kinds[one], kinds[other], values[one], values[other]]
        button.click(None, swapped, swapped, js=_SWAP, **_QUIET)
    _connect_drawing(studio, inputs, outputs, [*kinds, *values, run, chips], draw)
    return list(zip(kinds, values, strict=True))


def restored(axes: Axes, pairs: Mapping[str, str]) -> dict[Component, str]:
    """Return the axes' controls as the parameters of a plot say; nothing for other images."""
    if pairs.get("Script") != SCRIPT:
        return {}
    values: dict[Component, str] = {}
    for letter, (kind, text) in zip("XYZ", axes, strict=True):
        axis = find_axis(pairs.get(f"{letter} Type", NOTHING)) or AXES[NOTHING]
        fixed = pairs.get(f"Fixed {letter} Values") or pairs.get(f"{letter} Values", "")
        values |= {kind: axis.name, text: "" if axis.name == NOTHING else fixed}
    return values


def _connect_axes(
    studio: Studio,
    kinds: list[gr.Dropdown],
    values: list[gr.Textbox],
    fills: list[gr.Button],
    run: gr.Dropdown,
) -> None:
    """Say at each axis what its values look like, and fill them in where they can be counted."""

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
        kind.change(choose, kind, [text, button], **_QUIET)
        kind.change(offer_runs, [run, *kinds], run, **_QUIET)
        button.click(fill, [kind, run], text, **_QUIET)


def _connect_drawing(
    studio: Studio,
    inputs: Controls,
    outputs: Results,
    axes: list[gr.components.Component],
    draw: gr.Button,
) -> None:
    shared = list(inputs.values())

    def plot(*values: Any) -> Iterator[dict[Component, Any]]:
        *given, after = values
        of_axes = given[len(shared) :]
        chosen = list(zip(of_axes[:3], of_axes[3:6], strict=True))
        try:
            request = controls.read(given[: len(shared)])
            model = overrides.choice(studio, of_axes[7])
            job = studio.plotting.start(request, chosen, of_axes[6], after, model)
        except BadField as error:
            yield results.refuse(outputs, error)
            return
        yield from results.follow(outputs, job, studio)

    draw.click(
        plot,
        [*shared, *axes, outputs.job],
        outputs.components(),
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=results.MOST_FOLLOWED,
        trigger_mode="multiple",
    )
