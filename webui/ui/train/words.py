"""What is learned, in words: the embedding's name and the initializer, with what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.training.learned.concepts import concepts_of, names_in
from webui.training.recipe import Recipe
from webui.ui.markup import message, progress
from webui.ui.train.recipe_controls import element_id
from webui.ui.train.sources import Sources

if TYPE_CHECKING:
    from webui.training.trials.words import Trial

OF_EACH = 3
"""Words that are offered of each of several names."""
SHOWN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUIET: dict[str, Any] = {**SHOWN, "queue": False}
HIDDEN: dict[str, Any] = gr.update(visible=False)


def build(studio: Studio, sources: Sources, kind: gr.Dropdown) -> dict[str, Any]:
    """Build the controls inside the open Blocks and return them by the names of the form.

    ``kind`` is the control of what is learned, which decides the words that *Suggest* tries.
    """
    with gr.Row(elem_classes=["narrow"]):
        with gr.Column(min_width=220, elem_classes=["narrow"]):
            name = _line(
                "Name",
                "name",
                "What you will write in prompts, e.g. my_mug",
            )
            overwrite = gr.Checkbox(
                label="Replace an embedding of this name", elem_id=element_id("overwrite")
            )
            name_said = gr.HTML(elem_id="train-name-said", js_on_load=None)
            use = gr.Button("Use", size="sm", visible=False, elem_id="train-use-name")
        with gr.Column(min_width=220, elem_classes=["narrow"]):
            initializer = _line(
                "Initializer",
                "initializer",
                "The words that come closest, e.g. star",
            )
            pieces = gr.HTML(elem_id="train-initializer-said", js_on_load=None)
            with gr.Row(elem_classes=["narrow", "only-possible"]):
                suggest = gr.Button("Suggest", size="sm", elem_id="train-suggest", min_width=90)
                stop = gr.Button(
                    "Stop", size="sm", interactive=False, elem_id="train-suggest-stop", min_width=90
                )
            trial = gr.HTML(elem_id="train-suggest-said", js_on_load=None)
            offered = gr.Radio(
                [], label="Words that come close", visible=False, elem_id="train-suggested"
            )
    better = gr.Textbox(visible="hidden")

    def look(text: str, replaces: bool) -> dict[Any, Any]:
        if not text.strip() or studio.models.state.model is None:
            return {name_said: "", use: gr.update(visible=False), better: ""}
        wrong, near = studio.training.look_at_name(text.strip(), replaces)
        return {
            name_said: message(wrong, "bad") if wrong else "",
            use: gr.update(value=f"Use {near}", visible=bool(near)),
            better: near,
        }

    looked_at = ([name, overwrite], [name_said, use, better])
    name.blur(look, *looked_at, **QUIET)
    overwrite.change(look, *looked_at, **QUIET)
    use.click(
        lambda near: [near, "", gr.update(visible=False)], better, [name, name_said, use], **QUIET
    )

    def try_words(data: Mapping[Any, Any]) -> Iterator[dict[Any, Any]]:
        choices: list[tuple[str, str]] = []
        begun = {stop: gr.update(interactive=True), suggest: gr.update(interactive=False)}
        ended = {stop: gr.update(interactive=False), suggest: gr.update(interactive=True)}
        yield {**begun, trial: progress(0, 1, "Encoding the images"), offered: HIDDEN}
        try:
            recipe, names = Recipe(kind=data[kind]), names_in(data[name])
            for found in studio.training.trials.suggest(recipe, sources.paths(data), names):
                said = f"Trying words: {found.done} of {found.total} trials"
                yield {trial: progress(found.done, found.total, said)}
                choices += _choices(names, found)
        except AppError as error:
            yield {**ended, trial: message(str(error), "bad")}
            return
        yield {
            **ended,
            trial: message(
                f"Of {found.tried} words these leave the least error; in brackets how much less "
                "than no word at all. Choose one, or write your own."
            ),
            offered: gr.update(choices=choices, value=None, visible=True),
        }

    outputs = [stop, suggest, trial, offered]
    trying = suggest.click(
        try_words, {sources.uploads, sources.folder, kind, name}, outputs, **SHOWN
    )
    stop.click(
        lambda: [gr.update(interactive=False), gr.update(interactive=True), "", HIDDEN],
        None,
        outputs,
        cancels=[trying],
        **QUIET,
    )
    offered.input(_taken_over, [offered, name, initializer], initializer, **QUIET).then(
        lambda *texts: _pieces(studio, *texts), [initializer, name], pieces, **QUIET
    )
    initializer.blur(lambda *texts: _pieces(studio, *texts), [initializer, name], pieces, **QUIET)
    return {"name": name, "overwrite": overwrite, "initializer": initializer}


def _choices(names: Sequence[str], found: Trial) -> list[tuple[str, str]]:
    """Return the best words of a trial as choices: what is shown, and for which name which word."""
    if len(names) == 1:
        return [(f"{each.word} ({each.gain:+.1%})", f"0 {each.word}") for each in found.best]
    number = names.index(found.name)
    return [
        (f"{found.name}: {each.word} ({each.gain:+.1%})", f"{number} {each.word}")
        for each in found.best[:OF_EACH]
    ]


def _taken_over(choice: str, name: str, initializer: str) -> str:
    """Return the initializer with a chosen word in the place of the name that it is for."""
    number, _, word = choice.partition(" ")
    count = len(names_in(name))
    words = [each.strip() for each in initializer.split(",")] if initializer.strip() else []
    if len(words) == 1:
        words *= count  # one for all
    words = (words + [""] * count)[:count]
    if int(number) < count:
        words[int(number)] = word
    return ", ".join(words)


def _line(label: str, name: str, info: str) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, max_lines=1, elem_id=element_id(name), min_width=140)


def _pieces(studio: Studio, text: str, name: str) -> str:
    """Say what the model reads an initializer as; of several names each has one."""
    if not text.strip() or studio.models.state.model is None:
        return ""
    try:
        words = {concept.initializer: None for concept in concepts_of(name, text)}
        pieces = [piece for each in words for piece in studio.training.initializer_pieces(each)]
    except AppError as error:
        return message(str(error), "warn")
    if len(pieces) > sum(len(each.split()) for each in words):
        return message(
            f"The model does not know it as whole words and reads {' · '.join(pieces)}. A commoner "
            "word is a better start.",
            "warn",
        )
    return message(f"The model reads {' · '.join(pieces)}.")
