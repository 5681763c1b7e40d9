"""What a picture says about how it was made."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from webui.api.sdapi.answers import REFUSED, Question, Shape
from webui.errors import AppError, BadField
from webui.generation.metadata.infotext import read_infotext
from webui.generation.metadata.png_info import read_picture
from webui.images import as_files


class PngInfoRequest(Question):
    """A picture in base64."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": "iVBORw0KGgo…"}]})

    image: str
    """A PNG, JPEG or WebP in base64, with or without ``data:image/png;base64,``."""


class PngInfo(Shape):
    """What was found."""

    info: str = Field(examples=["a red star\nSteps: 20, Sampler: DDIM, Seed: 1, Size: 128x128"])
    """The parameters text, "" if there is none."""
    items: dict[str, str]
    """The parameters text under the name of its place in the file."""
    parameters: dict[str, Any]
    """The text taken apart: ``Prompt``, ``Negative prompt``, ``Steps``, …"""


def add(router: APIRouter) -> None:
    """Add the route."""

    @router.post("/png-info", responses=REFUSED, summary="Read an image's parameters")
    def png_info(body: PngInfoRequest) -> PngInfo:
        with as_files([body.image], "image") as [path]:
            try:
                inside = read_picture(path)
            except AppError as error:
                raise BadField("image", str(error).replace(path.name, "The image")) from error
        if inside is None:
            return PngInfo(info="", items={}, parameters={})
        request, pairs = read_infotext(inside.text)
        prompts = {"Prompt": request.prompt, "Negative prompt": request.negative_prompt}
        return PngInfo(
            info=inside.text, items={"parameters": inside.text}, parameters=prompts | dict(pairs)
        )
