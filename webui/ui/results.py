"""Where a generation shows itself: progress, preview, pictures, parameters, messages."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from webui.errors import BadField
from webui.studio.generating import JobView, SavedPicture
from webui.studio.studio import Studio
from webui.ui.controls import element_id
from webui.ui.fields import message_setter, told
from webui.ui.markup import duration, message, progress


@dataclass(frozen=True)
class Results:
    """The outputs of a generation."""

    bar: gr.HTML
    preview: gr.Image
    gallery: gr.Gallery
    infotext: gr.Textbox
    messages: gr.HTML
    interrupt: gr.Button
    job: gr.Textbox
    """Id of the job that Interrupt stops."""
    last_seed: gr.Number
    infotexts: gr.JSON
    """Parameters of each picture, for whichever is looked at."""
    fields: gr.HTML
    """Puts messages at controls."""

    def components(self) -> list[gr.components.Component]:
        """Return the outputs in the order in which ``show`` returns their values."""
        return [getattr(self, field.name) for field in fields(self)]


def build(interrupt: gr.Button, last_seed: gr.Number) -> Results:
    """Build the outputs inside the open Blocks."""
    bar = gr.HTML(elem_id="progress", js_on_load=None)
    messages = gr.HTML(elem_id="messages", js_on_load=None)
    preview = gr.Image(
        label="Coming",
        visible=False,
        interactive=False,
        format="jpeg",
        height=420,
        elem_id="preview",
        buttons=[],
    )
    gallery = gr.Gallery(
        label="Pictures",
        elem_id="gallery",
        height=460,
        columns=3,
        object_fit="contain",
        buttons=["download", "fullscreen"],
        interactive=False,
        preview=True,
    )
    infotext = gr.Textbox(
        label="Parameters (saved in the picture)",
        lines=4,
        elem_id="infotext",
        interactive=False,
        buttons=["copy"],
    )
    job = gr.Textbox(visible="hidden", elem_id="job")
    infotexts = gr.JSON([], visible="hidden")
    gallery.select(
        _infotext_of,
        infotexts,
        infotext,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    return Results(
        bar=bar,
        preview=preview,
        gallery=gallery,
        infotext=infotext,
        messages=messages,
        interrupt=interrupt,
        job=job,
        last_seed=last_seed,
        infotexts=infotexts,
        fields=message_setter(),
    )


def show(view: JobView, job_id: str, studio: Studio) -> list[Any]:
    """Return the outputs for a generation as it stands, in the order of Results."""
    pictures = view.pictures
    previewed = view.preview is not None and not (view.ended and pictures)
    settled = bool(pictures) or view.ended
    warnings = "".join(message(text, "warn") for text in view.warnings)
    return [
        _bar(view, studio),
        gr.update(value=view.preview, visible=previewed),
        _gallery(view, visible=not previewed),
        (pictures[0].infotext if pictures else "") if settled else gr.skip(),
        warnings + (message(view.problem, "bad") if view.problem else ""),
        gr.update(interactive=not view.ended),
        job_id,
        pictures[0].seed if pictures else gr.skip(),
        [picture.infotext for picture in pictures] if settled else gr.skip(),
        told({}) if view.version <= 1 else gr.skip(),
    ]


def refuse(error: BadField) -> list[Any]:
    """Return the outputs that say at its field why a request is refused."""
    untouched = [gr.skip()] * (len(fields(Results)) - 1)
    return [*untouched, told({element_id(error.field): str(error)})]


def unchanged() -> list[Any]:
    """Return the outputs that leave everything as it is."""
    return [gr.skip()] * len(fields(Results))


def _infotext_of(infotexts: list[str], chosen: gr.SelectData) -> Any:
    """Return the parameters of the picture that is looked at."""
    return infotexts[chosen.index] if chosen.index < len(infotexts) else gr.skip()


def _gallery(view: JobView, *, visible: bool) -> Any:
    """Show the finished pictures; while one is being drawn, its preview takes their place."""
    if not (view.pictures or view.ended):
        return gr.update(visible=visible)
    shown = [(str(picture.path), f"seed {picture.seed}") for picture in view.pictures]
    first = 0 if view.ended and shown else None
    return gr.update(value=shown, visible=visible, selected_index=first)


def _bar(view: JobView, studio: Studio) -> str:
    """Say how far it is."""
    if view.state == "waiting":
        state = studio.models.state
        if state.loading:
            text = f"Waiting: the model {state.name} is being loaded …"
        else:
            text = f"Waiting for {view.waiting_for} …" if view.waiting_for else "Starting …"
        return progress(0, 1, text)
    if view.state == "drawing":
        left = f" · {duration(view.eta_s)} left" if view.eta_s is not None else ""
        return progress(view.step, view.steps, f"Step {view.step} of {view.steps}{left}")
    if view.state == "interrupted":
        kept = f"; {len(view.pictures)} finished kept" if view.pictures else ""
        return progress(view.step, view.steps, f"Interrupted at step {view.step}{kept}.")
    if view.state == "failed":
        return ""
    return progress(
        1, 1, f"Done: {len(view.pictures)} saved in outputs/txt2img{_used(view.pictures)}"
    )


def _used(pictures: tuple[SavedPicture, ...]) -> str:
    names = dict.fromkeys(used.name for picture in pictures for used in picture.used)
    return f" · used {', '.join(names)}" if names else ""
