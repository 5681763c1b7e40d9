"""What is cut from the training images: shown, and moved where people want it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block
from PIL import Image

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.training.crops import box_of, focus, size_in
from webui.training.dataset import ENOUGH, Picture, pair_captions
from webui.training.recipe import Recipe
from webui.ui.train.sources import Sources

SIDE = 256
"""Longest side of a crop that is shown, in pixels."""
AUTO = -1.0
Shape = Callable[[Picture], float]
"""Returns the width of a picture's crop, as a multiple of its height."""


def build(studio: Studio, sources: Sources, buckets: gr.Checkbox) -> gr.JSON:
    """Build the crops and the controls that move them inside the open Blocks.

    Returns the hidden component with the position of each crop (``Recipe.crop_positions``).
    """
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
    positions = gr.JSON([], visible="hidden")
    with gr.Row(elem_classes=["narrow"], visible=False) as movers:
        which = gr.Dropdown(
            [], label="Crop: image", elem_id="train-crop-of", min_width=140, interactive=True
        )
        position = gr.Slider(
            0,
            100,
            50,
            step=1,
            label="Crop: position (%)",
            buttons=[],
            elem_id="train-crop-at",
            min_width=160,
        )
        auto = gr.Button("Auto", size="sm", elem_id="train-crop-auto", min_width=90)
    inputs: set[Block] = {sources.uploads, sources.folder, buckets, which, position, positions}
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}

    def read(data: Mapping[Any, Any]) -> tuple[dict[int, Picture], Shape]:
        return _read(studio, sources, data), shape_in(studio, data[buckets])

    def begin(data: Mapping[Any, Any]) -> dict[Any, Any]:
        pictures, shape = read(data)
        choices = movable(pictures, shape)
        first = choices[0][1] if choices else None
        return {
            shown: crops_of(pictures, [], shape),
            movers: gr.update(visible=bool(choices)),
            which: gr.update(choices=choices, value=first),
            position: _position_of(pictures, [], first, shape),
            positions: [],
        }

    def choose(data: Mapping[Any, Any]) -> dict[Any, Any]:
        pictures, shape = read(data)
        return {position: _position_of(pictures, data[positions], data[which], shape)}

    def move(data: Mapping[Any, Any], to: float | None = None) -> dict[Any, Any]:
        pictures, shape = read(data)
        at = [*data[positions], *[AUTO] * (max(pictures, default=-1) + 1 - len(data[positions]))]
        if data[which] is None:
            return {positions: at}
        at[data[which]] = data[position] / 100 if to is None else to
        moved: dict[Any, Any] = {shown: crops_of(pictures, at, shape), positions: at}
        if to is not None:
            moved[position] = _position_of(pictures, at, data[which], shape)
        return moved

    for control in (sources.uploads, sources.folder, buckets):
        control.change(begin, inputs, [shown, movers, which, position, positions], **quiet)
    which.input(choose, inputs, [position], **quiet)
    position.input(move, inputs, [shown, positions], trigger_mode="always_last", **quiet)
    auto.click(lambda data: move(data, AUTO), inputs, [shown, positions, position], **quiet)
    return positions


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


def movable(pictures: Mapping[int, Picture], shape: Shape) -> list[tuple[str, int]]:
    """Return name and index of the pictures that are not used whole."""
    return [
        (picture.path.name, index)
        for index, picture in pictures.items()
        if abs(picture.image.width - picture.image.height * shape(picture)) >= 1
    ]


def crops_of(
    pictures: Mapping[int, Picture], positions: Sequence[float], shape: Shape
) -> dict[str, Any]:
    """Return the update of the gallery that shows the crops."""
    shown = []
    for index, picture in pictures.items():
        ratio = shape(picture)
        size = (round(SIDE * min(1, ratio)), round(SIDE * min(1, 1 / ratio)))
        box = box_of(picture, positions[index] if index < len(positions) else AUTO, ratio)
        image = picture.image.resize(size, Image.Resampling.BILINEAR, box=box)
        shown.append((image, picture.path.name))
    update: dict[str, Any] = gr.update(value=shown, visible=bool(shown))
    return update


def _position_of(
    pictures: Mapping[int, Picture],
    positions: Sequence[float],
    chosen: int | None,
    shape: Shape,
) -> Any:
    """Return the slider's value for a picture."""
    if chosen is None or chosen not in pictures:
        return gr.skip()
    picture = pictures[chosen]
    position = positions[chosen] if chosen < len(positions) else AUTO
    if position < 0:
        across, down = focus(picture, shape(picture))
        wide = picture.image.width > picture.image.height * shape(picture)
        position = across if wide else down
    return round(100 * position)


def _read(studio: Studio, sources: Sources, data: Mapping[Any, Any]) -> dict[int, Picture]:
    """Read the pictures that are pictures by their index; the advice names the others."""
    read = {}
    try:
        files, _ = pair_captions(sources.paths(data))
    except AppError:
        return {}
    for index, file in enumerate(files[:ENOUGH]):
        try:
            read[index] = studio.training.pictures.read(*file)
        except AppError:
            continue
    return read
