"""AUTOMATIC1111's scripts that draw many prompts: the prompt matrix, and prompts from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.errors import BadField
from webui.generation.plots.plan import MAX_PICTURES
from webui.generation.plots.prompt_list import LINES, PLACES, ListOptions
from webui.generation.plots.prompt_matrix import JOINTS, SIDES, MatrixOptions
from webui.generation.request import GenerationRequest
from webui.studio.jobs import GenerationJob
from webui.studio.models_in_use import ModelChoice
from webui.studio.studio import Studio
from webui.ui.markup import message
from webui.ui.toasts import failure
from webui.ui.txt2img import controls, overrides, results
from webui.ui.txt2img.controls import Controls, element_id
from webui.ui.txt2img.results import Results

ABOUT_MATRIX = (
    "“a castle | at night | in snow” draws the castle without the parts behind the bars, with each "
    "of them, and with both, in one labelled grid."
)
ABOUT_LIST = (
    'A prompt in each line; or options, which hold for that line: --prompt "a castle" '
    f"--negative_prompt fog --steps 30 --seed 7. At most {MAX_PICTURES} images are drawn."
)
LONGEST_FILE_BYTES = 4_000_000
Start = Callable[[GenerationRequest, Sequence[Any], str | None, ModelChoice | None], GenerationJob]
"""Starts a job for a request, the script's own values, the job to wait for, and a model."""


def build(studio: Studio, inputs: Controls, outputs: Results, chips: gr.Dropdown) -> None:
    """Build both panels inside the open Blocks; ``chips`` are the override settings."""
    with gr.Accordion("Prompt matrix", open=False, elem_id="prompt-matrix"):
        gr.HTML(message(ABOUT_MATRIX), js_on_load=None)
        at_start = gr.Checkbox(label="Put variable parts at start of prompt", elem_id="at-start")
        seeds = gr.Checkbox(label="Use different seed for each image", elem_id="different-seeds")
        with gr.Row(elem_classes=["narrow"]):
            side = gr.Radio(list(SIDES), value="positive", label="Select prompt", min_width=150)
            joint = gr.Radio(
                list(JOINTS), value="comma", label="Select joining char", min_width=150
            )
        draw = gr.Button("Generate matrix", variant="primary", elem_id="draw-matrix")
    _connect(
        studio,
        lambda request, own, after, model: studio.plotting.start_matrix(
            request, MatrixOptions(*own), after, model
        ),
        (inputs, [at_start, seeds, side, joint], chips),
        outputs,
        draw,
    )
    with gr.Accordion("Prompts from file or textbox", open=False, elem_id="prompt-list"):
        gr.HTML(message(ABOUT_LIST), js_on_load=None)
        count = gr.Checkbox(label="Iterate seed every line", elem_id="count-seeds")
        same = gr.Checkbox(label="Use same random seed for all lines", elem_id="same-seed")
        place = gr.Radio(
            list(PLACES), value=PLACES[0], label="Insert prompts at the", elem_id="insert-at"
        )
        lines = gr.Textbox(
            label="List of prompt inputs",
            lines=3,
            max_lines=12,
            elem_id=element_id(LINES),
            html_attributes=gr.InputHTMLAttributes(spellcheck=False),
        )
        with gr.Row(elem_classes=["narrow"]):
            upload = gr.UploadButton(
                "Upload prompt inputs", type="binary", size="sm", elem_id="upload-prompts"
            )
            draw = gr.Button("Generate list", variant="primary", elem_id="draw-list")
    upload.upload(_read_file, upload, lines, show_progress="hidden", api_visibility="private")
    _connect(
        studio,
        lambda request, own, after, model: studio.plotting.start_list(
            request, own[3], ListOptions(*own[:3]), after, model
        ),
        (inputs, [count, same, place, lines], chips),
        outputs,
        draw,
    )


def _read_file(content: bytes | None) -> Any:
    """Return the lines of an uploaded file."""
    if content is None:
        return gr.skip()
    if len(content) > LONGEST_FILE_BYTES:
        raise failure("The file is too large to be a list of prompts.")
    return content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")


def _connect(
    studio: Studio,
    start: Start,
    given: tuple[Controls, Sequence[Component], gr.Dropdown],
    outputs: Results,
    button: gr.Button,
) -> None:
    """Let a button start a job of the controls, a script's own, and the override settings."""
    inputs, own, chips = given
    count = len(inputs)

    def draw(*values: Any) -> Iterator[dict[Component, Any]]:
        *settings, chosen, after = values
        try:
            request = controls.read(settings[:count])
            job = start(request, settings[count:], after, overrides.choice(studio, chosen))
        except BadField as error:
            yield results.refuse(outputs, error)
            return
        yield from results.follow(outputs, job, studio)

    button.click(
        draw,
        [*inputs.values(), *own, chips, outputs.job],
        outputs.components(),
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=results.MOST_FOLLOWED,
        trigger_mode="multiple",
    )
