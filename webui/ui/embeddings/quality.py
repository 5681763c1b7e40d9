"""The quality of embeddings, measured by a button and kept in their notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from webui.embeddings.library import Card
from webui.errors import AppError
from webui.images import open_picture
from webui.job_state import JobState
from webui.studio.measuring import MeasuringView, in_a_line
from webui.studio.studio import Studio
from webui.ui.markup import Verbatim, facts, message, progress

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
ABOUT = (
    "Measures with the loaded model how well the embedding was learned (on the images of its "
    "training run, if that is still there) and draws it at several strengths."
)


class Quality:
    """The section about one embedding: its figures, its contact sheet, and *Measure*."""

    def __init__(self, studio: Studio, key: gr.Textbox) -> None:
        """Build the section inside the open Blocks; ``key`` holds the card's key."""
        self._studio = studio
        self._figures = gr.HTML(js_on_load=None, elem_id="quality-figures")
        self._sheet = gr.Image(
            show_label=False,
            interactive=False,
            visible=False,
            elem_id="quality-sheet",
            buttons=["fullscreen"],
        )
        self._answer = gr.HTML(js_on_load=None, elem_id="quality-answer")
        measure, stop = _buttons("measure")
        self.outputs: list[gr.components.Component] = [self._figures, self._sheet, self._answer]
        measure.click(self._measure, key, self.outputs, **PRIVATE)
        stop.click(studio.measuring.stop, None, None, queue=False, **PRIVATE)

    def show(self, card: Card) -> dict[gr.components.Component, Any]:
        """Return what is known of a card's quality."""
        figures, sheet = self._studio.library.measured(card)
        try:
            image = open_picture(sheet) if sheet else None
        except AppError:
            image = None
        return {
            self._figures: _table(figures) if figures else message(ABOUT),
            self._sheet: gr.update(value=image, visible=image is not None),
            self._answer: "",
        }

    def _measure(self, key: str) -> Iterator[dict[gr.components.Component, Any]]:
        for text in _followed(self._studio, [key]):
            yield {self._answer: text}
        card = self._studio.library.card_at(key)
        if card is not None:
            yield {**self.show(card), self._answer: text}


def build_several(studio: Studio) -> None:
    """Build the section that measures several embeddings, one after the other."""
    names = gr.Dropdown(
        [],
        label="Embeddings",
        multiselect=True,
        elem_id="measure-names",
        elem_classes=["names"],
        interactive=True,
    )
    measure, stop = _buttons("measure-chosen")
    answer = gr.HTML(js_on_load=None, elem_id="measure-answer")

    def choices() -> Any:
        cards = studio.library.snapshot().cards
        usable = [(card.name, card.key) for card in cards if studio.why_unusable(card) is None]
        return gr.update(choices=usable)

    def measured(keys: list[str] | None) -> Iterator[str]:
        yield from _followed(studio, keys or [])

    names.focus(choices, None, names, queue=False, **PRIVATE)
    measure.click(measured, names, answer, **PRIVATE)
    stop.click(studio.measuring.stop, None, None, queue=False, **PRIVATE)


def _buttons(elem_id: str) -> tuple[gr.Button, gr.Button]:
    with gr.Row(elem_classes=["narrow"]):
        measure = gr.Button("Measure", size="sm", elem_id=elem_id, min_width=80)
        stop = gr.Button("Stop", size="sm", elem_id=f"{elem_id}-stop", min_width=80)
    return measure, stop


def _followed(studio: Studio, keys: list[str]) -> Iterator[str]:
    """Measure cards and yield how far it is; what is asked for goes on without the page."""
    try:
        studio.measuring.start(keys)
    except AppError as error:
        yield message(str(error), "bad")
        return
    for view in studio.measuring.updates():
        yield _progress(view)


def _progress(view: MeasuringView) -> str:
    said = "".join(message(in_a_line(item), "good") for item in view.measured)
    said += "".join(message(text, "bad") for text in view.problems)
    if view.state is JobState.STOPPED:
        said += message("Stopped. What is measured is kept.", "warn")
    if view.state.ended:
        return said
    doing = f"Drawing {view.name} …" if view.total else f"Measuring {view.name} …"
    return said + progress(view.done, view.total or 1, doing)


def _table(figures: Mapping[str, Any]) -> str:
    """Return the figures as they lie in a file, which may hold anything."""
    gain = _percent(figures.get("gain"))
    error = _percent(figures.get("error"))
    return facts(
        [
            ("Verdict", figures.get("verdict")),
            ("Gain over the initializer", f"{gain} ± {error}" if gain and error else gain),
            ("Held-out gain", _percent(figures.get("held_out"))),
            ("Editability", _number(figures.get("editability"))),
            ("Vector length vs. ordinary words", _number(figures.get("norm_ratio"))),
            ("Compared with", figures.get("compared_with")),
            ("With its LoRA", "yes" if figures.get("with_lora") else None),
            ("Measured with", Verbatim(figures.get("model") or "")),
        ]
    )


def _percent(value: object) -> str | None:
    return f"{value:.1%}" if isinstance(value, float) else None


def _number(value: object) -> str | None:
    return f"{value:.2f}" if isinstance(value, (int, float)) else None
