"""What is cut from the training images: shown on them, and moved where people want it."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from gradio.blocks import Block

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.training.crops import box_of, size_in
from webui.training.dataset import ENOUGH, Picture, pair_captions
from webui.training.recipe import Recipe
from webui.ui.theme import asset
from webui.ui.train.sources import Sources

SIDE = 360
"""Longest side of an image that is shown, in pixels."""
AUTO = -1.0
Shape = Callable[[Picture], float]
"""Returns the width of a picture's crop, as a multiple of its height."""


def build(studio: Studio, sources: Sources, buckets: gr.Checkbox) -> gr.JSON:
    """Build the images with their crops, which can be dragged, inside the open Blocks.

    Returns the hidden component with the position of each crop (``Recipe.crop_positions``).
    """
    # The script may run before other properties have arrived, so the template is fixed.
    shown = gr.HTML(
        value={},
        html_template='<ul class="crops"></ul>',
        js_on_load=asset("crops.js"),
        apply_default_css=False,
        visible=False,
        elem_id="train-shown",
    )
    positions = gr.JSON([], visible="hidden")
    inputs: set[Block] = {sources.uploads, sources.folder, buckets}
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}

    def begin(data: Mapping[Any, Any]) -> dict[Any, Any]:
        crops = crops_of(_read(studio, sources, data), shape_in(studio, data[buckets]))
        # The time makes it new to the page where the same images come again.
        value = {"begun": time.time(), "crops": crops}
        return {shown: gr.update(value=value, visible=bool(crops)), positions: []}

    def move(event: gr.EventData) -> list[float]:
        return [min(1.0, max(AUTO, float(position))) for position in event.value]

    for control in (sources.uploads, sources.folder, buckets):
        control.change(begin, inputs, [shown, positions], **quiet)
    shown.select(move, None, [positions], **quiet)
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


def crops_of(pictures: Mapping[int, Picture], shape: Shape) -> list[dict[str, Any]]:
    """Return what the page shows of each picture: it, and where its crop lies by itself.

    Left, top, width and height of the crop are parts of the picture's own, 0 to 1.
    """
    crops = []
    for index, picture in pictures.items():
        width, height = picture.image.size
        left, top, right, bottom = box_of(picture, AUTO, shape(picture))
        small = picture.image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        data = io.BytesIO()
        small.save(data, "WEBP", quality=85)
        crops.append(
            {
                "index": index,
                "name": picture.path.name,
                "image": f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}",
                "left": left / width,
                "top": top / height,
                "width": (right - left) / width,
                "height": (bottom - top) / height,
            }
        )
    return crops


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
