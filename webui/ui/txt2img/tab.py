"""The txt2img tab: prompts, settings, the picture as it comes, the pictures made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.errors import BadField
from webui.studio.studio import Studio
from webui.ui.cards import card_grid, checkpoint_cards
from webui.ui.polling import Poll
from webui.ui.theme import asset, icon_button
from webui.ui.txt2img import (
    completion,
    controls,
    gallery_actions,
    memory,
    overrides,
    prompt_scripts,
    results,
    styles_panel,
    xray,
    xyz_panel,
)
from webui.ui.txt2img.apply_parameters import Target, connect_paste
from webui.ui.txt2img.controls import FROM_MODEL, Controls
from webui.ui.txt2img.gallery_actions import GalleryActions
from webui.ui.txt2img.results import Results


def build(demo: gr.Blocks, studio: Studio, poll: Poll) -> tuple[Target, GalleryActions]:
    """Build the tab inside the open Blocks and return what parameters can be sent to."""
    with gr.Row(elem_classes=["narrow"], elem_id="prompts"):
        with gr.Column(scale=5, min_width=300, elem_classes=["narrow"]):
            with gr.Column(elem_classes=["prompt-area"]):
                prompt = _prompt_box(
                    "Prompt", "prompt", 2, "What the image should show, e.g. a red heart on a hill"
                )
                xray.build(studio, poll, prompt, negative=False)
            with gr.Column(elem_classes=["prompt-area"]):
                negative = _prompt_box(
                    "Negative prompt", "negative-prompt", 2, "What it should not show"
                )
                xray.build(studio, poll, negative, negative=True)
            chips = overrides.build()
            completion.build(studio)
            examples = gr.HTML(
                value=[],
                html_template='<div class="examples"></div>',
                js_on_load=asset("examples.js"),
                apply_default_css=False,
                elem_id="examples",
            )
        with gr.Column(scale=1, min_width=320, elem_classes=["narrow"], elem_id="actions"):
            go = gr.Button("Generate", variant="primary", elem_id="generate")
            with gr.Row(elem_classes=["narrow"]):
                interrupt = _steering("Interrupt", "interrupt")
                skip = _steering("Skip", "skip")
            with gr.Row(elem_classes=["narrow"], elem_id="tools"):
                paste = icon_button("Read parameters from the prompt", "paste-parameters")
                clear = icon_button("Clear the prompts", "clear-prompts")
                edit_styles = icon_button("Edit styles", "edit-styles")
                forever = gr.Checkbox(label="Generate forever", elem_id="forever", min_width=130)
            chosen_styles = controls.style_choice()
    edited = gr.Column(elem_id="styles-panel", elem_classes=["narrow"])
    clear.click(None, None, None, js="() => window.promptBoxes.clear()", api_visibility="private")
    last_seed = gr.Number(-1, visible="hidden", precision=0)
    with gr.Row(elem_id="drawing"):
        with gr.Column(scale=5, min_width=300), gr.Tabs(overflow_behavior="wrap"):
            with gr.Tab("Generation", render_children=True) as settings:
                inputs = controls.build(prompt, negative, chosen_styles, last_seed, studio, poll)
                xray.connect(inputs)
            with gr.Tab("Textual Inversion", elem_id="cards-panel"):
                card_grid("prompt-cards")
            with gr.Tab("Checkpoints", elem_id="checkpoints-panel"):
                checkpoint_cards(studio)
            with gr.Tab("Lora", elem_id="loras-panel"):
                card_grid("lora-cards", "loras")
        with gr.Column(scale=6, min_width=300, elem_id="results"):
            outputs = results.build(interrupt, skip, last_seed)
            actions = gallery_actions.build(studio, outputs)
    with edited:
        styles_panel.build(studio, poll, inputs, edit_styles)
    with settings:
        axes = xyz_panel.build(studio, inputs, outputs, chips)
        prompt_scripts.build(studio, inputs, outputs, chips)
    drawn = _connect(studio, inputs, outputs, chips, go)
    poll.watch(lambda: _examples(studio), lambda: [_examples(studio)], [examples])
    held = poll.suggest(lambda: controls.suggested(studio), [inputs[field] for field in FROM_MODEL])
    memory.remember_controls(demo, studio, inputs, held)
    followed = memory.remember_job(demo, studio, poll, outputs)
    memory.remember_forever(demo, outputs, drawn, followed, forever)
    target = Target(inputs, held, outputs.messages, chips, axes)
    connect_paste(studio, paste, target)
    actions.connect(target)
    return target, actions


def _prompt_box(label: str, elem_id: str, lines: int, placeholder: str) -> gr.Textbox:
    return gr.Textbox(
        "",  # with a value of its own, clients of the page's API may leave it out
        label=label,
        lines=lines,
        max_lines=10,
        placeholder=placeholder,
        elem_id=elem_id,
        elem_classes=["prompt-box"],
        html_attributes=gr.InputHTMLAttributes(
            spellcheck=False, autocapitalize="off", autocorrect="off"
        ),
    )


def _examples(studio: Studio) -> list[str]:
    """Return prompts that the loaded model draws well."""
    model = studio.models.state.model
    return list(model.defaults.get("example_prompts", [])) if model else []


def _steering(label: str, elem_id: str) -> gr.Button:
    return gr.Button(label, interactive=False, elem_id=elem_id, min_width=80)


def _connect(
    studio: Studio, inputs: Controls, outputs: Results, chips: gr.Dropdown, go: gr.Button
) -> gr.events.Dependency:
    """Connect Generate, Interrupt and Skip; return the event of Generate."""

    def txt2img(*values: Any) -> Iterator[dict[Component, Any]]:
        """Draw pictures of a prompt; yields the progress and at last the pictures."""
        try:
            *given, after, chosen = values
            model = overrides.choice(studio, chosen)
            job = studio.generating.start(controls.read(given), model=model, after=after)
        except BadField as error:
            yield results.refuse(outputs, error)
            return
        yield from results.follow(outputs, job, studio)

    drawn = go.click(
        txt2img,
        [*inputs.values(), outputs.job, chips],
        outputs.components(),
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=results.MOST_FOLLOWED,
        trigger_mode="multiple",
    )
    quiet: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    outputs.interrupt.click(studio.generating.stop, outputs.job, None, **quiet)
    outputs.skip.click(studio.generating.skip, outputs.job, None, **quiet)
    return drawn
