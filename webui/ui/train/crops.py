"""What is cut from the training pictures: shown, and moved where people want it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.training.crops import box_of, focus, size_in
from webui.training.dataset import MAXIMUM, Picture, read_picture
from webui.training.recipe import Recipe

SIDE = 256
"""Longest side of a cutting that is shown, in pixels."""
AUTOMATIC = -1.0
Shape = Callable[[Picture], float]
"""Returns the width of a picture's cutting, as a multiple of its height."""


def build(studio: Studio, pictures: gr.File, shown: gr.Gallery, buckets: gr.Checkbox) -> gr.JSON:
    """Build the controls that move cuttings inside the open Blocks.

    Returns the hidden component with the place of each picture's cutting (``Recipe.places``).
    """
    places = gr.JSON([], visible="hidden")
    with gr.Row(elem_classes=["narrow"], visible=False) as movers:
        which = gr.Dropdown(
            [], label="What is used of", elem_id="train-crop-of", min_width=140, interactive=True
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
    for control in (pictures, buckets):
        control.change(
            lambda files, keep: _begin(files, shape_in(studio, keep)),
            [pictures, buckets],
            [shown, movers, which, place, places],
            **quiet,
        )
    which.input(
        lambda keep, *now: _place_of(*now, shape_in(studio, keep)),
        [buckets, pictures, places, which],
        place,
        **quiet,
    )
    place.input(
        lambda keep, value, *now: _moved(*now, value / 100, shape_in(studio, keep))[:2],
        [buckets, place, pictures, places, which],
        [shown, places],
        trigger_mode="always_last",
        **quiet,
    )
    automatic.click(
        lambda keep, *now: _moved(*now, AUTOMATIC, shape_in(studio, keep)),
        [buckets, pictures, places, which],
        [shown, places, place],
        **quiet,
    )
    return places


def shape_in(studio: Studio, buckets: bool) -> Shape:
    """Return the shapes of squares, or of the loaded model's buckets."""
    model = studio.models.state.model
    if not buckets or model is None:
        return lambda picture: 1.0
    from webui.training.setup import buckets_of

    sizes = buckets_of(Recipe(buckets=True), model)

    def shape(picture: Picture) -> float:
        width, height = size_in(picture, 1, sizes)
        return width / height

    return shape


def _begin(files: list[str] | None, shape: Shape) -> list[Any]:
    """Show the cuttings of new pictures; those that are used whole cannot be moved."""
    read = _read(files)
    cut = [
        (picture.path.name, index)
        for index, picture in read
        if abs(picture.image.width - picture.image.height * shape(picture)) >= 1
    ]
    first = cut[0][1] if cut else None
    return [
        _cuttings(read, [], shape),
        gr.update(visible=bool(cut)),
        gr.update(choices=cut, value=first),
        _place_of(files, [], first, shape),
        [],
    ]


def _place_of(
    files: list[str] | None, places: list[float], chosen: int | None, shape: Shape
) -> Any:
    """Return the slider's value for a picture."""
    picture = dict(_read(files)).get(chosen)
    if picture is None:
        return gr.skip()
    place = places[chosen] if chosen < len(places) else AUTOMATIC
    if place < 0:
        across, down = focus(picture, shape(picture))
        wide = picture.image.width > picture.image.height * shape(picture)
        place = across if wide else down
    return round(100 * place)


def _moved(
    files: list[str] | None, places: list[float], chosen: int | None, place: float, shape: Shape
) -> tuple[Any, list[float], Any]:
    """Return the cuttings, the places and the slider's value after one cutting was moved."""
    if chosen is None:
        return gr.skip(), places, gr.skip()
    read = _read(files)
    filled = [*places, *[AUTOMATIC] * (len(files or []) - len(places))]
    filled[chosen] = place
    return _cuttings(read, filled, shape), filled, _place_of(files, filled, chosen, shape)


def _cuttings(read: Sequence[tuple[int, Picture]], places: Sequence[float], shape: Shape) -> Any:
    shown = []
    for index, picture in read:
        ratio = shape(picture)
        size = (round(SIDE * min(1, ratio)), round(SIDE * min(1, 1 / ratio)))
        box = box_of(picture, places[index] if index < len(places) else AUTOMATIC, ratio)
        image = picture.image.resize(size, Image.Resampling.BILINEAR, box=box)
        shown.append((image, picture.path.name))
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
