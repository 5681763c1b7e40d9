"""The Train tab: images in, a run to watch, an embedding out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from webui.errors import AppError, BadField
from webui.studio.studio import Studio
from webui.training.captions import read_templates
from webui.training.presets import PRESETS, preset
from webui.training.recipe import Recipe
from webui.training.request import TrainingRequest
from webui.ui.fields import field_messages, message_setter
from webui.ui.markup import message
from webui.ui.polling import Poll
from webui.ui.toasts import failure
from webui.ui.train import crops as train_crops
from webui.ui.train import recipe_controls
from webui.ui.train import watch as train_watch
from webui.ui.train.recipe_controls import PRESET, element_id
from webui.ui.train.sources import Sources

LABELS = {choice.label: key for key, choice in PRESETS.items()}
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(studio: Studio, poll: Poll) -> None:
    """Build the tab inside the open Blocks."""
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            form, sources, start, advice = _form(studio, poll)
        with gr.Column(scale=6, min_width=300):
            opened = train_watch.build(studio, poll)
    setter = message_setter()
    inputs = set(form.values())

    def asked(data: Mapping[Any, Any]) -> TrainingRequest:
        return _request(
            {name: data[control] for name, control in form.items()}, sources.paths(data)
        )

    for control, event in (
        ("pictures", "change"),
        ("folder", "change"),
        ("buckets", "change"),
        ("caption_mode", "change"),
        ("name", "blur"),
        ("initializer", "blur"),
    ):
        listen = getattr(form[control], event)
        listen(lambda data: _advice(studio, lambda: asked(data)), inputs, advice, **QUIET)

    def train(data: Mapping[Any, Any]) -> Iterator[dict[str, Any]]:
        problems = _problems(studio, lambda: asked(data), form)
        if problems:
            yield field_messages({element_id(field): text for field, text in problems.items()})
            raise failure(" ".join(problems.values()))
        try:
            studio.training.start(asked(data))
        except AppError as error:
            raise failure(error) from error
        yield field_messages({})

    start.click(train, inputs, setter, **QUIET).success(lambda: "", None, opened, **QUIET)


def _form(studio: Studio, poll: Poll) -> tuple[dict[str, Any], Sources, gr.Button, gr.HTML]:
    """Build the controls of a new run, and the place for advice about them."""
    usual = PRESETS["object"]
    recipe = recipe_controls.make()
    sources = Sources(studio)
    positions = train_crops.build(studio, sources, recipe["buckets"])
    advice = gr.HTML(elem_id="train-advice", js_on_load=None)
    with gr.Row(elem_classes=["narrow"]):
        name = _line("Name", "name", "What you will write in prompts, e.g. my_mug")
        initializer = _line("Initializer", "initializer", "The words that come closest, e.g. star")
    chosen = gr.Radio(
        list(LABELS), value=usual.label, label="Preset", info=usual.summary, elem_id="train-preset"
    )
    with gr.Accordion("Settings", open=False, elem_id="train-settings"):
        recipe_controls.lay_out(recipe, "settings")
        overwrite = gr.Checkbox(label="Replace an embedding of the same name")
    with gr.Accordion("Advanced", open=False, elem_id="train-advanced"):
        recipe_controls.lay_out(recipe, "advanced")
        load = gr.UploadButton(
            "Load caption templates (.txt)",
            file_types=[".txt"],
            size="sm",
            elem_id="train-load-templates",
        )
        load.upload(_templates, load, recipe["templates"], **QUIET)
    start = gr.Button("Train", variant="primary", elem_id="train-start")
    form = {
        "pictures": sources.uploads,
        "folder": sources.folder,
        "name": name,
        "initializer": initializer,
        "preset": chosen,
        "overwrite": overwrite,
        "crop_positions": positions,
        **recipe,
    }
    suggested = [form[key] for key in PRESET]

    def choose(label: str) -> dict[Any, Any]:
        values = zip(suggested, _suggestion(studio, label), strict=True)
        return {chosen: gr.update(info=PRESETS[LABELS[label]].summary), **dict(values)}

    chosen.input(choose, chosen, [chosen, *suggested], queue=False, **QUIET)
    poll.suggest(lambda: [usual.label, *_suggestion(studio, usual.label)], [chosen, *suggested])
    return form, sources, start, advice


def _templates(path: str) -> str:
    try:
        return "\n".join(read_templates(Path(path)))
    except AppError as error:
        raise failure(error) from error


def _line(label: str, name: str, info: str) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, max_lines=1, elem_id=element_id(name), min_width=140)


def _preset(studio: Studio, label: str) -> Recipe:
    """Return a preset's recipe for the loaded model."""
    model = studio.models.state.model
    return preset(LABELS[label], model.family if model else "sd1")


def _suggestion(studio: Studio, label: str) -> list[Any]:
    """Return what the controls of ``PRESET`` show for a preset and the loaded model."""
    recipe = _preset(studio, label)
    return [recipe_controls.shown(recipe, name) for name in PRESET]


def _request(values: Mapping[str, Any], pictures: tuple[Path, ...]) -> TrainingRequest:
    """Return the request of the form; raises BadField for what a setting cannot be."""
    positions = tuple(values["crop_positions"] or ())
    return TrainingRequest(
        name=(values["name"] or "").strip(),
        pictures=pictures,
        initializer=(values["initializer"] or "").strip(),
        recipe=Recipe(crop_positions=positions, **recipe_controls.read(values)),
        overwrite=bool(values["overwrite"]),
    )


def _advice(studio: Studio, asked: Callable[[], TrainingRequest]) -> str:
    """Say what the images and the name could suffer from, and how captions will read."""
    if studio.models.state.model is None:
        return ""
    try:
        request = asked()
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
        captions = studio.training.captions(request)
        said.append(message("Captions will read: " + " · ".join(captions)))
    return "".join(said)


def _problems(
    studio: Studio, asked: Callable[[], TrainingRequest], controls: Collection[str]
) -> dict[str, str]:
    """Return what keeps a run from starting, by control; the first problem of each."""
    problems: dict[str, str] = {}
    try:
        found = studio.training.check(asked())
    except BadField as error:
        found = [(error.field, str(error))]
    except AppError as error:
        found = [("pictures", str(error))]
    for field, text in found:
        # what has no control of its own is told at the preset
        problems.setdefault(field if field in controls else "preset", text)
    return problems
