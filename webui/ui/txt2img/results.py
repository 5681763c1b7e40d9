"""Where a generation shows itself: progress, preview, pictures, parameters, messages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.errors import AppError, BadField
from webui.files import contained
from webui.job_state import JobState
from webui.studio.jobs import GenerationJob, JobView, SavedPicture
from webui.studio.studio import Studio
from webui.ui.fields import field_messages, message_setter
from webui.ui.markup import duration, message, progress
from webui.ui.txt2img.controls import element_id

PICTURE_FOLDERS = ("txt2img", "grids")
"""Folders below outputs/ whose pictures are shown here and can be deleted."""
MOST_FOLLOWED = 16
"""Generations that pages follow at once, those included that they have queued."""
Entries = list[dict[str, Any]]
"""What is known of each image: name (its path below outputs/), caption, infotext and seed."""
SHOWN_EVERY_S = 0.15
"""The page is not sent more often than this; the sampler needs the processor more."""


@dataclass(frozen=True)
class Results:
    """The outputs of a generation."""

    bar: gr.HTML
    preview: gr.Image
    gallery: gr.Gallery
    infotext: gr.Textbox
    messages: gr.HTML
    interrupt: gr.Button
    skip: gr.Button
    job: gr.Textbox
    """Id of the job that Interrupt stops."""
    state: gr.Textbox
    """The state of that job, "" for a plot; Generate forever goes on when it is done."""
    last_seed: gr.Number
    entries: gr.JSON
    """What is known of each picture in the gallery, for whichever is looked at."""
    chosen: gr.Number
    """Which picture is looked at, counted from 0."""
    fields: gr.HTML
    """Puts messages at controls."""

    def components(self) -> list[Component]:
        """Return all outputs."""
        return [getattr(self, field.name) for field in fields(self)]


def build(interrupt: gr.Button, skip: gr.Button, last_seed: gr.Number) -> Results:
    """Build the outputs inside the open Blocks.

    The parameters stand below what is done with an image, so they are rendered there.
    """
    bar = gr.HTML(elem_id="progress", js_on_load=None)
    messages = gr.HTML(elem_id="messages", js_on_load=None)
    preview = gr.Image(
        label="Live preview",
        visible=False,
        interactive=False,
        format="jpeg",
        height=430,
        elem_id="preview",
        buttons=[],
    )
    gallery = gr.Gallery(
        label="Images",
        elem_id="gallery",
        height=430,
        columns=3,
        object_fit="contain",
        buttons=["download", "fullscreen"],
        interactive=False,
        preview=True,
    )
    return Results(
        bar=bar,
        preview=preview,
        gallery=gallery,
        infotext=gr.Textbox(
            label="Parameters (saved in the image)",
            lines=2,
            elem_id="infotext",
            interactive=False,
            buttons=["copy"],
            render=False,
        ),
        messages=messages,
        interrupt=interrupt,
        skip=skip,
        job=gr.Textbox("", visible="hidden", elem_id="job"),  # a value, so clients may leave it out
        state=gr.Textbox(visible="hidden"),
        last_seed=last_seed,
        entries=gr.JSON([], visible="hidden"),
        chosen=gr.Number(0, visible="hidden", precision=0),
        fields=message_setter(),
    )


def follow(made: Results, job: GenerationJob, studio: Studio) -> Iterator[dict[Component, Any]]:
    """Yield the new values of the outputs for a generation as it goes on, until it ends.

    One that is queued changes nothing before it is its turn: whoever follows the job before it
    says so. A page that goes away ends this and not the job; opened again, it follows the job.
    """
    shown = -1
    for view in job.updates():
        fresh = view.version != shown and job.ahead is None
        yield show(made, job, view, studio) if fresh else gr.skip()
        shown = view.version
        if not view.ended:
            time.sleep(SHOWN_EVERY_S)


def show(made: Results, job: GenerationJob, view: JobView, studio: Studio) -> dict[Component, Any]:
    """Return the new values of the outputs for a generation as it stands.

    For a finished plot, show the grid first. Former pictures stay until there are new ones.
    """
    entries = _entries(view, studio)
    first = len(entries) - 1 if entries and view.is_plot and view.grid is not None else 0
    previewed = view.preview is not None
    queued = studio.generating.queued_behind(job)
    waiting = message(f"Queued: {queued} ahead.") if queued else ""
    warnings = "".join(message(text, "warn") for text in view.warnings)
    going = gr.update(interactive=not view.ended)
    values: dict[Component, Any] = {
        made.bar: progress_of(job, view, studio) + waiting,
        made.preview: gr.update(value=view.preview, visible=previewed),
        made.gallery: _gallery(entries, first, view, studio, visible=not previewed),
        made.messages: warnings + (message(view.problem, "bad") if view.problem else ""),
        made.interrupt: going,
        made.skip: going,
        made.job: job.id,
        made.state: "" if view.is_plot else view.state,
    }
    if entries:
        values |= {made.infotext: entries[first]["infotext"], made.entries: entries}
        values |= {made.chosen: first, made.last_seed: entries[first]["seed"]}
    if view.version <= 1:
        values[made.fields] = field_messages({})
    return values


def refuse(made: Results, error: BadField) -> dict[Component, Any]:
    """Return what says at its fields why a request is refused; nothing is drawn again after it."""
    messages = {element_id(field): text for field, text in error.messages.items()}
    return {made.fields: field_messages(messages), made.state: ""}


def _entries(view: JobView, studio: Studio) -> Entries:
    """Return what is known of the pictures that still lie on the disk."""
    outputs = studio.settings.outputs_dir
    pictures = [(picture, f"seed {picture.seed}") for picture in view.pictures]
    if view.grid is not None:
        pictures.append((view.grid, "grid"))
    return [
        {
            "name": picture.path.relative_to(outputs).as_posix(),
            "caption": caption,
            "infotext": picture.infotext,
            "seed": picture.seed,
        }
        for picture, caption in pictures
        if picture.path.is_file()
    ]


def files(entries: Entries, studio: Studio) -> list[tuple[str, str]]:
    """Return paths and captions for the gallery; names come from the page, so they are checked."""
    several = len(entries) > 1
    return [
        (
            str(picture_path(entry["name"], studio)),
            (f"{number} of {len(entries)} · " if several else "") + entry["caption"],
        )
        for number, entry in enumerate(entries, start=1)
    ]


def picture_path(name: str, studio: Studio) -> Path:
    """Return the path of a picture of this tab by its name below the outputs.

    Raises AppError for any other file.
    """
    folder, _, rest = name.partition("/")
    path = contained(studio.settings.outputs_dir / folder, rest)
    if folder not in PICTURE_FOLDERS or path.suffix.lower() != ".png":
        raise AppError(f"{name} is no image of this tab.")
    return path


def _gallery(entries: Entries, first: int, view: JobView, studio: Studio, *, visible: bool) -> Any:
    """Show the finished pictures; while one is being drawn, its preview takes their place."""
    if not entries:
        return gr.update(visible=visible)
    chosen = first if view.ended else None
    return gr.update(value=files(entries, studio), visible=visible, selected_index=chosen)


def _waiting(job: GenerationJob, view: JobView, studio: Studio) -> str:
    """Say what a job waits for."""
    state, running = studio.models.state, studio.generating.running()
    if state.loading:
        return f"Waiting: the model {state.name} is being loaded … {state.percent} %"
    if ahead := running.index(job) if job in running else 0:
        return f"Queued: {ahead} ahead"
    return f"Waiting for {view.waiting_for} …" if view.waiting_for else "Starting …"


def progress_of(job: GenerationJob, view: JobView, studio: Studio) -> str:
    """Say how far it is."""
    if view.state is JobState.QUEUED:
        return progress(0, 1, _waiting(job, view, studio))
    if view.state is JobState.DRAWING:
        left = f" · {duration(view.eta_s)} left" if view.eta_s is not None else ""
        where = f"{_being_drawn(job, view)}Step {view.step} of {view.steps}{left}"
        return progress(view.step, view.steps, where)
    if view.state is JobState.STOPPED:
        kept = f"; {len(view.pictures)} kept" if view.pictures else ""
        return progress(view.step, view.steps, f"Interrupted at step {view.step}{kept}.")
    if view.state is JobState.FAILED:
        return ""
    skipped = f" · {view.skipped} skipped" if view.skipped else ""
    saved = f"Done: {len(view.pictures)} saved in outputs/txt2img"
    if view.is_plot and view.grid is not None:
        saved += ", the grid in outputs/grids"
    return progress(1, 1, f"{saved}{skipped}{_used(view.pictures)}")


def _being_drawn(job: GenerationJob, view: JobView) -> str:
    """Say which of several images, or cells of a plot, are being drawn."""
    size, total = job.request.batch_size, job.request.pictures
    if view.is_plot:
        return f"Cell {view.cell} of {view.cells} · "
    if job.request.batch_count == 1:
        return ""
    first = len(view.pictures) + view.skipped * size + 1
    last = min(first + size - 1, total)
    return (
        f"Image {first} of {total} · " if first == last else f"Images {first}–{last} of {total} · "
    )


def _used(pictures: tuple[SavedPicture, ...]) -> str:
    names = dict.fromkeys(used.name for picture in pictures for used in picture.used)
    return f" · used {', '.join(names)}" if names else ""
