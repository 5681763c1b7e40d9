"""Pictures made larger or smaller: /extra-single-image and /extra-batch-images."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from PIL import Image, PngImagePlugin
from pydantic import ConfigDict, Field

from webui.api.sdapi.answers import REFUSED, Question, Shape
from webui.api.sdapi.pictures import to_text
from webui.errors import AppError, BadField
from webui.generation.metadata.png_info import read_picture
from webui.generation.upscaling import PIXEL_UPSCALERS
from webui.images import MAX_PIXELS, as_files, open_picture

NO_UPSCALER = "None"
"""Leaves a picture as it is."""
SIDE_STEP = 8
"""Pixels by which AUTOMATIC1111 rounds the sides of an enlarged picture down."""
MOST_PICTURES = 100
NEED_A_MODEL = ("gfpgan_visibility", "codeformer_visibility")


class ExtrasRequest(Question):
    """How pictures are to be resized."""

    model_config = ConfigDict(extra="allow")

    resize_mode: int = Field(0, ge=0, le=1)
    """0 enlarges by ``upscaling_resize``, 1 to the width and height."""
    upscaling_resize: float = Field(2, gt=0, le=8)
    upscaling_resize_w: int = Field(512, ge=1, le=16_384)
    upscaling_resize_h: int = Field(512, ge=1, le=16_384)
    upscaling_crop: bool = True
    """Whether what does not fit into the width and height is cut off."""
    upscaler_1: str | None = NO_UPSCALER
    """Without one the picture stays as it is."""
    upscaler_2: str | None = NO_UPSCALER
    extras_upscaler_2_visibility: float = Field(0, ge=0, le=1)
    gfpgan_visibility: float = Field(0, ge=0, le=1)
    codeformer_visibility: float = Field(0, ge=0, le=1)


class SingleRequest(ExtrasRequest):
    """One picture to be resized."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"image": "iVBORw0KGgo…", "upscaling_resize": 2, "upscaler_1": "Lanczos"}]
        }
    )

    image: str
    """In base64."""


class FileData(Question):
    """A picture of a batch."""

    data: str
    """In base64."""
    name: str = ""


class BatchRequest(ExtrasRequest):
    """Pictures to be resized, all in the same way."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "imageList": [{"data": "iVBORw0KGgo…", "name": "a.png"}],
                    "upscaling_resize": 2,
                    "upscaler_1": "Lanczos",
                }
            ]
        }
    )

    imageList: list[FileData] = Field(max_length=MOST_PICTURES)  # noqa: N815 - A1111's name


class ExtrasAnswer(Shape):
    """About what was done."""

    html_info: str = ""


class SingleAnswer(ExtrasAnswer):
    """The resized picture."""

    image: str


class BatchAnswer(ExtrasAnswer):
    """The resized pictures in their order."""

    images: list[str]


def add(router: APIRouter) -> None:
    """Add the routes."""

    @router.post("/extra-single-image", responses=REFUSED, summary="Resize an image")
    def extra_single_image(body: SingleRequest) -> SingleAnswer:
        [image] = _resized(body, [body.image], "image")
        return SingleAnswer(image=image)

    @router.post("/extra-batch-images", responses=REFUSED, summary="Resize several images")
    def extra_batch_images(body: BatchRequest) -> BatchAnswer:
        return BatchAnswer(
            images=_resized(body, [file.data for file in body.imageList], "imageList")
        )


def _resized(body: ExtrasRequest, texts: list[str], field: str) -> list[str]:
    """Return pictures in base64 as the body wants them; each keeps its parameters text."""
    _refuse_models(body)
    made = []
    with as_files(texts, field) as paths:
        for path in paths:
            try:
                image, inside = open_picture(path), read_picture(path)
            except AppError as error:
                raise BadField(field, str(error).replace(path.name, "The image")) from error
            notes = PngImagePlugin.PngInfo()
            if inside is not None:
                notes.add_text("parameters", inside.text)
            buffer = io.BytesIO()
            resize(image, body).save(buffer, "PNG", pnginfo=notes)
            made.append(to_text(buffer.getvalue()))
    return made


def _refuse_models(body: ExtrasRequest) -> None:
    """Raise BadField for what needs a model that is not here."""
    for field in NEED_A_MODEL:
        if getattr(body, field):
            raise BadField(field, f"“{field}” needs a model for faces, which this app has not.")
    chosen: Mapping[str, Any] = {"upscaler_1": body.upscaler_1}
    if body.extras_upscaler_2_visibility:
        chosen = {**chosen, "upscaler_2": body.upscaler_2}
    for field, name in chosen.items():
        if name not in (None, "", NO_UPSCALER, *PIXEL_UPSCALERS):
            there = ", ".join((NO_UPSCALER, *PIXEL_UPSCALERS))
            text = f"There is no upscaler “{name[:80]}”; those with a model are not there. "
            raise BadField(field, f"{text}Choose one of: {there}.")


def resize(image: Image.Image, wish: ExtrasRequest) -> Image.Image:
    """Return a picture enlarged by a factor, or to cover or fit a size, as AUTOMATIC1111 does.

    Raises BadField for a result that is too large.
    """
    upscaler = wish.upscaler_1 or NO_UPSCALER
    if upscaler not in PIXEL_UPSCALERS:
        return image
    if wish.resize_mode == 0:
        least, factor = (SIDE_STEP, SIDE_STEP), wish.upscaling_resize
        sides = [int(side * factor) // SIDE_STEP * SIDE_STEP for side in image.size]
    else:
        least = wish.upscaling_resize_w, wish.upscaling_resize_h
        factor = max(least[0] / image.width, least[1] / image.height)
        sides = [round(side * factor) for side in image.size]
    width, height = map(max, sides, least)
    if width * height > MAX_PIXELS:
        field = "upscaling_resize_w" if wish.resize_mode else "upscaling_resize"
        raise BadField(field, f"The image would become {width}×{height}, which is too large.")
    larger = image.resize((width, height), PIXEL_UPSCALERS[upscaler])
    if wish.resize_mode == 0 or not wish.upscaling_crop:
        return larger
    left, top = (width - least[0]) // 2, (height - least[1]) // 2
    return larger.crop((left, top, left + least[0], top + least[1]))
