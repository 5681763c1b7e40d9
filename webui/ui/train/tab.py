"""The Train tab: pictures in, a run to watch, an embedding out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from webui.errors import AppError, BadField
from webui.studio.studio import Studio
from webui.studio.training_runs import TrainingRequest
from webui.training.presets import PRESETS, preset
from webui.training.recipe import Recipe
from webui.training.runs import tracking
from webui.ui.fields import message_setter, told
from webui.ui.markup import message
from webui.ui.polling import Poll
from webui.ui.toasts import failure
from webui.ui.train import crops as train_crops
from webui.ui.train import watch as train_watch

KINDS = {"an object": "object", "a style": "style", "a fault (for the negative prompt)": "negative"}
LABELS = {choice.label: key for key, choice in PRESETS.items()}
CAPTIONS = 6
"""Captions shown as they will be drawn."""
FORM = (
    "pictures",
    "name",
    "initializer",
    "preset",
    "steps",
    "vectors",
    "learning_rate",
    "prior_weight",
    "kind",
    "batch_size",
    "seed",
    "overwrite",
    "crop_positions",
    "buckets",
    "tensorboard",
)
"""The controls of the form, in the order in which their values arrive."""


def build(studio: Studio, poll: Poll) -> None:
    """Build the tab inside the open Blocks."""
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            form, start, advice = _form(studio, poll)
        with gr.Column(scale=6, min_width=300):
            train_watch.build(studio, poll)
    setter = message_setter()
    inputs = [form[name] for name in FORM]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    for control, event in (
        ("pictures", "change"),
        ("buckets", "change"),
        ("name", "blur"),
        ("initializer", "blur"),
    ):
        listen = getattr(form[control], event)
        listen(lambda *values: _advice(studio, values), inputs, advice, **quiet)

    def train(*values: Any) -> Iterator[dict[str, Any]]:
        problems = _problems(studio, values)
        if problems:
            yield told({f"train-{field}": text for field, text in problems.items()})
            raise failure(" ".join(problems.values()))
        try:
            studio.training.start(_request(studio, values))
        except AppError as error:
            raise failure(error) from error
        yield told({})

    start.click(train, inputs, setter, **quiet)


def _advice(studio: Studio, values: tuple[Any, ...]) -> str:
    """Say what the pictures and the name could suffer from, and how captions will read."""
    if studio.models.state.model is None:
        return ""
    try:
        request = _request(studio, values)
        if not request.pictures:
            return ""
        findings = studio.training.preflight(request)
    except AppError as error:
        return message(str(error), "warn")
    said = [
        message(f"{found.file}: {found.message}" if found.file else found.message, "warn")
        for found in findings
    ]
    if request.name and request.initializer and not any(found.stops for found in findings):
        captions = studio.training.captions(request, CAPTIONS)
        said.append(message("Captions will read: " + " · ".join(captions)))
    return "".join(said)


def _problems(studio: Studio, values: tuple[Any, ...]) -> dict[str, str]:
    """Return what keeps a run from starting, by control; the first problem of each."""
    problems: dict[str, str] = {}
    try:
        for field, text in studio.training.check(_request(studio, values)):
            # a setting without a control of its own is told at the preset
            problems.setdefault(field if field in FORM else "preset", text)
    except BadField as error:
        problems[error.field if error.field in FORM else "preset"] = str(error)
    except AppError as error:
        problems["pictures"] = str(error)
    return problems


def _form(studio: Studio, poll: Poll) -> tuple[dict[str, Any], gr.Button, gr.HTML]:
    """Build the controls of a new run, and the place for advice about them."""
    usual = PRESETS["object"]
    pictures = gr.File(
        label="Pictures (3 to 15 of the same thing, on different backgrounds)",
        file_count="multiple",
        height=170,
        elem_id="train-pictures",
    )
    shown = gr.Gallery(
        show_label=False,
        columns=5,
        height=150,
        visible=False,
        buttons=[],
        elem_id="train-shown",
        object_fit="contain",
        interactive=False,
        allow_preview=False,
    )
    advice = gr.HTML(elem_id="train-advice", js_on_load=None)
    buckets = gr.Checkbox(
        label="Keep the pictures' shape",
        info="Not squares: sizes of the same area, each batch of one of them",
        elem_id="train-buckets",
        render=False,
    )
    places = train_crops.build(studio, pictures, shown, buckets)
    with gr.Row(elem_classes=["narrow"]):
        name = gr.Textbox(
            label="Name",
            info="What you will write in prompts, e.g. my_mug",
            max_lines=1,
            elem_id="train-name",
            min_width=140,
        )
        initializer = gr.Textbox(
            label="Initializer",
            info="The words that come closest, e.g. star",
            max_lines=1,
            elem_id="train-initializer",
            min_width=140,
        )
    chosen = gr.Radio(
        list(LABELS), value=usual.label, label="Preset", info=usual.summary, elem_id="train-preset"
    )
    with gr.Accordion("Settings", open=False, elem_id="train-settings"):
        with gr.Row(elem_classes=["narrow"]):
            steps = _number("Steps", usual.recipe.steps, "train-steps")
            vectors = _number(
                "Vectors (0 = by the initializer)", usual.recipe.vectors, "train-vectors"
            )
            batch = _number("Batch size", usual.recipe.batch_size, "train-batch_size")
        with gr.Row(elem_classes=["narrow"]):
            rate = gr.Textbox(
                usual.recipe.learning_rate,
                label="Learning rate",
                max_lines=1,
                elem_id="train-learning_rate",
                min_width=110,
            )
            pull = gr.Slider(
                0,
                0.0005,
                usual.recipe.prior_weight,
                step=0.00005,
                label="Likeness ↔ flexibility",
                buttons=[],
                min_width=160,
            )
            seed = _number("Seed", 0, "train-seed")
        kind = gr.Dropdown(
            list(KINDS), value="an object", label="What is learned", elem_id="train-kind"
        )
        buckets.render()
        overwrite = gr.Checkbox(label="Replace an embedding of the same name")
        tensorboard = gr.Checkbox(
            label="Write the numbers for TensorBoard too",
            visible=tracking.available(),
            elem_id="train-tensorboard",
        )
    start = gr.Button("Train", variant="primary", elem_id="train-start")
    form = {
        "pictures": pictures,
        "name": name,
        "initializer": initializer,
        "preset": chosen,
        "steps": steps,
        "vectors": vectors,
        "learning_rate": rate,
        "prior_weight": pull,
        "kind": kind,
        "batch_size": batch,
        "seed": seed,
        "overwrite": overwrite,
        "crop_positions": places,
        "buckets": buckets,
        "tensorboard": tensorboard,
    }
    settings = [chosen, steps, vectors, rate, pull, kind, batch]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    chosen.input(lambda label: _settings_of(studio, label), chosen, settings, **quiet)
    poll.suggest(lambda: _values_of(studio, usual.label), settings)
    return form, start, advice


def _number(label: str, value: int, elem_id: str) -> gr.Number:
    return gr.Number(value, label=label, precision=0, elem_id=elem_id, min_width=90)


def _settings_of(studio: Studio, label: str) -> list[Any]:
    """Return the updates that choose a preset, with what it is for."""
    summary = PRESETS[LABELS[label]].summary
    return [gr.update(value=label, info=summary), *_values_of(studio, label)[1:]]


def _values_of(studio: Studio, label: str) -> list[Any]:
    """Return a preset's label and its values for the loaded model."""
    model = studio.models.state.model
    recipe = preset(LABELS[label], model.family if model else "sd1")
    kind = next(text for text, key in KINDS.items() if key == recipe.kind)
    return [
        label,
        recipe.steps,
        recipe.vectors,
        recipe.learning_rate,
        recipe.prior_weight,
        kind,
        recipe.batch_size,
    ]


def _request(studio: Studio, values: tuple[Any, ...]) -> TrainingRequest:
    """Return the request of the form; raises BadField for numbers that are missing."""
    form = dict(zip(FORM, values, strict=True))
    for field in ("steps", "vectors", "batch_size", "seed"):
        if form[field] is None:
            raise BadField(field, "Enter a number here.")
    model = studio.models.state.model
    recipe: Recipe = replace(
        preset(LABELS[form["preset"]], model.family if model else "sd1"),
        kind=KINDS[form["kind"]],
        crop_positions=tuple(form["crop_positions"] or ()),
        buckets=bool(form["buckets"]),
        tensorboard=bool(form["tensorboard"]),
        **{
            key: form[key]
            for key in (
                "steps",
                "vectors",
                "learning_rate",
                "prior_weight",
                "batch_size",
                "seed",
            )
        },
    )
    return TrainingRequest(
        name=(form["name"] or "").strip(),
        pictures=tuple(Path(path) for path in form["pictures"] or []),
        initializer=(form["initializer"] or "").strip(),
        recipe=recipe,
        overwrite=bool(form["overwrite"]),
    )
