"""The Train tab: images in, a run to watch, an embedding out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from webui.errors import AppError, BadField
from webui.studio.studio import Studio
from webui.training.captions import read_templates
from webui.training.dataset import MINIMUM, pair_captions
from webui.training.learned.concepts import names_in
from webui.training.presets import PRESETS, preset
from webui.training.recipe import Recipe
from webui.training.request import TrainingRequest, name_problem
from webui.ui.fields import field_messages, message_setter
from webui.ui.markup import message
from webui.ui.polling import Poll
from webui.ui.toasts import failure
from webui.ui.train import crops as train_crops
from webui.ui.train import recipe_controls, words
from webui.ui.train import watch as train_watch
from webui.ui.train.recipe_controls import PRESET, element_id
from webui.ui.train.sources import Sources
from webui.ui.train.where import Where
from webui.ui.txt2img.apply_parameters import Target

LABELS = {choice.label: key for key, choice in PRESETS.items()}
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
REMEMBERED = ("name", "initializer", "folder")
"""What is typed for a run; the browser keeps it, so that a reload brings it back."""


def build(demo: gr.Blocks, studio: Studio, poll: Poll, target: Target, tabs: gr.Tabs) -> None:
    """Build the tab inside the open Blocks; *Try* writes into the prompts of ``target``."""
    with gr.Row(elem_id="training"):
        with gr.Column(scale=5, min_width=300):
            form, sources, start, ready, advice, where = _form(studio, poll)
        with gr.Column(scale=6, min_width=300, elem_id="train-run"):
            opened = train_watch.build(studio, poll, target, tabs)
    _remember(demo, [form[field] for field in REMEMBERED])
    setter = message_setter()
    inputs = set(form.values())

    def asked(data: Mapping[Any, Any]) -> TrainingRequest:
        return _request(
            {name: data[control] for name, control in form.items()}, sources.paths(data)
        )

    where.follow(studio, asked, inputs)

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

    def train(data: Mapping[Any, Any]) -> dict[Any, Any]:
        problems = _problems(studio, lambda: asked(data), form)
        if not problems:
            try:
                studio.training.start(asked(data))
            except AppError as error:
                return {ready: message(str(error), "bad"), setter: field_messages({})}
            said = message(f"{data[form['name']].strip()} is being trained.", "good")
            return {ready: said, setter: field_messages({}), opened: ""}
        said = message(" ".join(problems.values()), "bad")
        told = {element_id(field): text for field, text in problems.items()}
        return {ready: said, setter: field_messages(told)}

    start.click(train, inputs, [ready, setter, opened], **QUIET)
    for listen in (
        sources.uploads.change,
        sources.folder.change,
        form["name"].change,
        form["initializer"].change,
    ):
        listen(
            lambda data: _ready(sources, data, form),
            inputs,
            ready,
            trigger_mode="always_last",
            queue=False,
            **QUIET,
        )


def _remember(demo: gr.Blocks, controls: Sequence[gr.Textbox]) -> None:
    """Keep the texts of controls in the browser, and bring them back when the page is loaded."""
    events: dict[str, Any] = {"queue": False, **QUIET}
    keep = "(...texts) => window.trainMemory.keep(texts)"
    gr.on([control.change for control in controls], None, list(controls), None, js=keep, **events)
    bring_back = f"() => window.trainMemory.texts({len(controls)})"
    demo.load(None, None, list(controls), js=bring_back, **events)


def _form(
    studio: Studio, poll: Poll
) -> tuple[dict[str, Any], Sources, gr.Button, gr.HTML, gr.HTML, Where]:
    """Build the controls of a new run in three steps.

    Returns them with the button, what is said beside it, the place for advice, and what shows
    which parts of the images count.
    """
    usual = PRESETS["object"]
    recipe = recipe_controls.make()
    with _step(1, "Images"):
        sources = Sources(studio)
        positions = train_crops.build(studio, sources, recipe["buckets"])
        strange = gr.HTML(elem_id="train-strange", js_on_load=None)

        def look(data: Mapping[Any, Any]) -> Iterator[str]:  # no lambda: Gradio asks what it is
            yield from _strange(studio, sources, data)

        for listen in (sources.uploads.change, sources.folder.change):
            listen(look, {sources.uploads, sources.folder}, strange, **QUIET)
    with _step(2, "Name and words"):
        named = words.build(studio, sources, recipe["kind"])
        where = Where()
    with _step(3, "Start"):
        advice = gr.HTML(elem_id="train-advice", js_on_load=None)
        chosen = gr.Radio(
            list(LABELS),
            value=usual.label,
            label="Preset",
            info=usual.summary,
            elem_id="train-preset",
        )
        with gr.Accordion("Settings", open=False, elem_id="train-settings"):
            recipe_controls.lay_out(recipe, "settings")
        with gr.Accordion("Advanced", open=False, elem_id="train-advanced"):
            recipe_controls.lay_out(recipe, "advanced")
            load = gr.UploadButton(
                "Load caption templates (.txt)",
                file_types=[".txt"],
                size="sm",
                elem_id="train-load-templates",
            )
            load.upload(_templates, load, recipe["templates"], **QUIET)
        with gr.Row(elem_id="train-go"):
            start = gr.Button(
                "Train", variant="primary", elem_id="train-start", scale=1, min_width=120
            )
            with gr.Column(scale=3, min_width=180):
                ready = gr.HTML(
                    message(_still_missing(0, "", "")), elem_id="train-ready", js_on_load=None
                )
    form = {
        "pictures": sources.uploads,
        "folder": sources.folder,
        "preset": chosen,
        "crop_positions": positions,
        **named,
        **recipe,
    }
    suggested = [form[key] for key in PRESET]

    def choose(label: str) -> dict[Any, Any]:
        values = zip(suggested, _suggestion(studio, label), strict=True)
        return {chosen: gr.update(info=PRESETS[LABELS[label]].summary), **dict(values)}

    chosen.input(choose, chosen, [chosen, *suggested], queue=False, **QUIET)
    poll.suggest(lambda: [usual.label, *_suggestion(studio, usual.label)], [chosen, *suggested])
    return form, sources, start, ready, advice, where


@contextmanager
def _step(number: int, title: str) -> Iterator[None]:
    """Build a step of the form under its heading, inside the ``with`` block."""
    with gr.Column(elem_classes=["step"], elem_id=f"train-step-{number}"):
        gr.HTML(
            f'<h2><span aria-hidden="true">{number}</span> {title}</h2>',
            js_on_load=None,
            apply_default_css=False,
        )
        yield


def _strange(studio: Studio, sources: Sources, data: Mapping[Any, Any]) -> Iterator[str]:
    """Say whether the model cannot draw such images, after it was looked at."""
    yield ""
    if studio.models.state.model is None:
        return
    try:
        paths = sources.paths(data)
        if len(pair_captions(paths)[0]) < MINIMUM:
            return
        yield message("Looking whether this model can draw such images …")
        found = studio.training.trials.drawable(Recipe(), paths)
    except AppError:
        found = []  # the advice tells it
    yield "".join(message(finding.message, "warn") for finding in found)


def _ready(sources: Sources, data: Mapping[Any, Any], form: Mapping[str, Any]) -> str:
    """Say what is missing for a run, or that nothing is."""
    try:
        pictures, _ = pair_captions(sources.paths(data))
    except AppError as error:
        return message(str(error), "warn")
    name, initializer = (data[form[key]] or "" for key in ("name", "initializer"))
    if said := _still_missing(len(pictures), name, initializer):
        return message(said)
    return message(f"Ready: {len(pictures)} images of “{name.strip()}”.", "good")


def _still_missing(pictures: int, name: str, initializer: str) -> str:
    """Return a sentence with what is not there yet; empty if all is."""
    there = f", not {pictures}" if pictures else ""
    missing = [
        text
        for text, given in (
            (f"at least {MINIMUM} images{there}", pictures >= MINIMUM),
            ("a name", not any(name_problem(each, None, (), True) for each in names_in(name))),
            ("an initializer", bool(initializer.strip())),
        )
        if not given
    ]
    return f"Still missing: {', '.join(missing)}." if missing else ""


def _templates(path: str) -> str:
    try:
        return "\n".join(read_templates(Path(path)))
    except AppError as error:
        raise failure(error) from error


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
