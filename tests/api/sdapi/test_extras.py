"""Pictures are resized without a model; what needs one is refused by name."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import pytest
from PIL import Image, PngImagePlugin

from tests.api.conftest import opened, picture_text


def resized(client: httpx.Client, **body: Any) -> httpx.Response:
    given = {"image": picture_text((96, 80)), "upscaler_1": "Lanczos"}
    return client.post("/extra-single-image", json=given | body)


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({}, (192, 160)),
        ({"upscaler_1": "None"}, (96, 80)),
        ({"upscaling_resize": 1.3}, (120, 104)),
        ({"resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 100}, (100, 100)),
        ({"resize_mode": 1, "upscaling_resize_w": 192, "upscaling_resize_h": 100,
          "upscaling_crop": False}, (192, 160)),
        ({"upscaler_2": "ESRGAN_4x", "extras_upscaler_2_visibility": 0}, (192, 160)),
    ],
)  # fmt: skip
def test_a_picture_is_resized(client: httpx.Client, body: dict[str, Any], size: tuple[int, int]):
    answer = resized(client, **body)
    assert answer.status_code == 200, answer.text
    assert opened(answer.json()["image"]).size == size


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("upscaler_1", "R-ESRGAN 4x+"),
        ("gfpgan_visibility", 0.5),
        ("codeformer_visibility", 1),
        ("upscaling_resize", 9),
        ("image", "no base64!"),
    ],
)
def test_what_cannot_be_done_is_named(client: httpx.Client, field: str, value: Any):
    answer = resized(client, **{field: value})
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_picture_too_large_is_refused_before_it_is_made(client: httpx.Client):
    wide = {"resize_mode": 1, "upscaling_resize_w": 16_384, "upscaling_resize_h": 16_384}
    assert resized(client, **wide).json()["field"] == "upscaling_resize_w"


def test_a_batch_comes_back_in_its_order_with_the_parameters(client: httpx.Client):
    notes = PngImagePlugin.PngInfo()
    notes.add_text("parameters", "a red star\nSteps: 2, Sampler: Euler, Seed: 5, Size: 8x8")
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 16)).save(buffer, "PNG", pnginfo=notes)
    texts = [picture_text((32, 8)), base64.b64encode(buffer.getvalue()).decode()]
    files = [{"data": text, "name": f"image{number}"} for number, text in enumerate(texts)]
    body = {"imageList": files, "upscaler_1": "Lanczos", "upscaling_resize": 2}
    images = [
        opened(text) for text in client.post("/extra-batch-images", json=body).json()["images"]
    ]
    assert [image.size for image in images] == [(64, 16), (16, 32)]
    assert images[1].mode == "RGBA" and images[1].text["parameters"].startswith("a red star")
