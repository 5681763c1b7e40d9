"""The squares that are cut from the training pictures: shown, and moved where people want them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from webui.errors import AppError
from webui.training.dataset import MAXIMUM, Picture, box_of, focus, read_picture

SIDE = 256
"""Side of a square that is shown, in pixels."""
AUTOMATIC = -1.0


def build(pictures: gr.File, shown: gr.Gallery) -> gr.JSON:
    """Build the controls that move squares inside the open Blocks.

    Returns the hidden component with the place of each picture's square (``Recipe.places``).
    """
    places = gr.JSON([], visible="hidden")
    with gr.Row(elem_classes=["narrow"], visible=False) as movers:
        which = gr.Dropdown(
            [], label="Square of", elem_id="train-crop-of", min_width=140, interactive=True
        )
        place = gr.Slider(
            0,
            100,
            50,
            step=1,
            label="Lies at (% of the long side)",
            buttons=[],
            elem_id="train-crop-at",
            min_width=160,
        )
        automatic = gr.Button("Automatic", size="sm", elem_id="train-crop-auto", min_width=90)
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    pictures.change(_begin, pictures, [shown, movers, which, place, places], **quiet)
    which.input(_place_of, [pictures, places, which], place, **quiet)
    place.input(
        lambda files, now, chosen, value: _moved(files, now, chosen, value / 100)[:2],
        [pictures, places, which, place],
        [shown, places],
        trigger_mode="always_last",
        **quiet,
    )
    automatic.click(
        lambda files, now, chosen: _moved(files, now, chosen, AUTOMATIC),
        [pictures, places, which],
        [shown, places, place],
        **quiet,
    )
    return places


def _begin(files: list[str] | None) -> list[Any]:
    """Show the squares of new pictures; those that are square already cannot be moved."""
    read = _read(files)
    long = [
        (picture.path.name, index)
        for index, picture in read
        if picture.image.width != picture.image.height
    ]
    first = long[0][1] if long else None
    return [
        _squares(read, []),
        gr.update(visible=bool(long)),
        gr.update(choices=long, value=first),
        _place_of(files, [], first),
        [],
    ]


def _place_of(files: list[str] | None, places: list[float], chosen: int | None) -> Any:
    """Return the slider's value for a picture."""
    picture = dict(_read(files)).get(chosen)
    if picture is None:
        return gr.skip()
    place = places[chosen] if chosen < len(places) else AUTOMATIC
    if place < 0:
        across, down = focus(picture)
        place = across if picture.image.width > picture.image.height else down
    return round(100 * place)


def _moved(
    files: list[str] | None, places: list[float], chosen: int | None, place: float
) -> tuple[Any, list[float], Any]:
    """Return the squares, the places and the slider's value after one square was moved."""
    if chosen is None:
        return gr.skip(), places, gr.skip()
    read = _read(files)
    filled = [*places, *[AUTOMATIC] * (len(files or []) - len(places))]
    filled[chosen] = place
    return _squares(read, filled), filled, _place_of(files, filled, chosen)


def _squares(read: Sequence[tuple[int, Picture]], places: Sequence[float]) -> Any:
    shown = [
        (
            picture.image.resize(
                (SIDE, SIDE),
                Image.Resampling.BILINEAR,
                box=box_of(picture, places[index] if index < len(places) else AUTOMATIC),
            ),
            picture.path.name,
        )
        for index, picture in read
    ]
    return gr.update(value=shown, visible=bool(shown))


def _read(files: list[str] | None) -> list[tuple[int, Picture]]:
    """Read the pictures that are pictures; the others are named when Train is pressed."""
    read = []
    for index, path in enumerate((files or [])[:MAXIMUM]):
        try:
            read.append((index, read_picture(Path(path))))
        except AppError:
            continue
    return read
