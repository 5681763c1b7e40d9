"""The tool that saves the prompts as a style, writes styles out, and deletes them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webui.errors import AppError, BadField
from webui.generation.request import GenerationRequest
from webui.generation.styles import Style
from webui.studio.studio import Studio
from webui.ui.fields import field_messages, message_setter
from webui.ui.markup import message
from webui.ui.polling import Poll
from webui.ui.toasts import failure
from webui.ui.txt2img.controls import Controls, element_id

ABOUT = (
    "Chosen styles are put into the prompts when the drawing starts; {prompt} in a style stands "
    "for your prompt. They are kept in "
)
_TOGGLE = """() => {
    const open = document.body.classList.toggle("editing-styles");
    document.querySelector("#edit-styles").setAttribute("aria-expanded", open);
    if (open) document.querySelector("#style-name :is(input, textarea)").focus();
}"""
_ASK = """(names) =>
    [names.length && confirm(window.language.say(`Delete ${names.join(", ")}?`)) ? names : []]"""


def build(studio: Studio, poll: Poll, inputs: Controls, edit: gr.Button) -> None:
    """Fill the open Column, which ``edit`` opens and closes, and keep the choice current."""
    edit.click(None, None, None, js=_TOGGLE, api_visibility="private")
    with gr.Row(elem_classes=["narrow"]):
        name = gr.Textbox(
            label="Style name",
            info=f"{ABOUT}{studio.settings.styles_file.name}.",
            max_lines=1,
            min_width=260,
            scale=3,
            elem_id="style-name",
        )
        with gr.Row(elem_classes=["narrow"]):
            save = gr.Button("Save prompts as a style", size="sm", elem_id="save-style")
            write_out = gr.Button("Apply selected", size="sm", elem_id="use-styles")
            delete = gr.Button("Delete selected …", size="sm", elem_id="delete-styles")
    answer = gr.HTML(elem_id="styles-answer", js_on_load=None)
    setter = message_setter()
    _connect(studio, inputs, name, (save, write_out, delete), answer, setter)
    poll.watch(
        studio.styles.version,
        lambda: [gr.update(choices=studio.styles.names()), _problem(studio)],
        [inputs["styles"], answer],
    )


def _connect(
    studio: Studio,
    inputs: Controls,
    name: gr.Textbox,
    buttons: tuple[gr.Button, gr.Button, gr.Button],
    answer: gr.HTML,
    setter: gr.HTML,
) -> None:
    prompts = [inputs["prompt"], inputs["negative_prompt"]]
    quiet: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }

    def save(name: str, prompt: str, negative: str) -> list[Any]:
        try:
            studio.styles.save(Style(name, prompt, negative))
        except BadField as error:
            return ["", field_messages({element_id(error.field): str(error)})]
        except (AppError, OSError) as error:
            return [message(str(error), "bad"), field_messages({})]
        return [message(f"{name.strip()} is saved.", "good"), field_messages({})]

    def write_out(styles: list[str], prompt: str, negative: str) -> list[Any]:
        request = GenerationRequest(prompt, negative, styles=tuple(styles))
        try:
            written = studio.styles.applied(request)
        except AppError as error:
            raise failure(error) from error
        return [[], written.prompt, written.negative_prompt]

    def delete(styles: list[str]) -> list[Any]:
        if not styles:
            return [gr.skip(), gr.skip()]
        try:
            for style in styles:
                studio.styles.delete(style)
        except (AppError, OSError) as error:
            return [gr.skip(), message(str(error), "bad")]
        return [[], message(f"Deleted: {', '.join(styles)}.", "good")]

    save_button, write_button, delete_button = buttons
    save_button.click(save, [name, *prompts], [answer, setter], **quiet)
    styles_control = inputs["styles"]
    chosen = [styles_control, *prompts]
    write_button.click(write_out, chosen, chosen, **quiet)
    delete_button.click(delete, styles_control, [styles_control, answer], js=_ASK, **quiet)


def _problem(studio: Studio) -> Any:
    """Say why the file cannot be read, or leave the answer as it is."""
    try:
        studio.styles.all()
    except AppError as error:
        return message(str(error), "bad")
    return gr.skip()
