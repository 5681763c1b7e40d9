"""What cannot be done is answered with a 4xx that names the field."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import picture_text
from webui.api.bodies import MOST_PICTURE_BYTES

PLAIN = {"prompt": "a red star", "steps": 1, "width": 64, "height": 64}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "  "),
        ("steps", 900),
        ("steps", "many"),
        ("steps", 2.5),
        ("cfg_scale", 0),
        ("width", 65),
        ("seed", -2),
        ("n_iter", 0),
        ("batch_size", 900),
        ("sampler_name", "DPM leaping"),
        ("scheduler", "Mind Your Steps"),
        ("styles", ["unknown"]),
        ("restore_faces", True),
        ("tiling", True),
        ("script_name", "x/y/z plot"),
        ("alwayson_scripts", {"controlnet": {"args": [{"module": "canny"}]}}),
        ("init_images", ["aGVsbG8="]),
        ("prompt", "\ud800"),
        ("seed", 1e400),
        ("cfg_scale", float("nan")),
        ("refiner_checkpoint", "refiner"),
        ("s_churn", 200),
        ("override_settings.sd_hypernetwork", "merry"),
        ("override_settings.sd_model_chekpoint", "tiny"),
        ("override_settings.sd_vae", "other"),
        ("override_settings.CLIP_stop_at_last_layers", 0),
        ("override_settings.sd_model_checkpoint", "unknown"),
    ],
)
def test_a_field_of_txt2img_that_cannot_be_used_is_named(
    client: httpx.Client, field: str, value: Any
):
    outer, _, inner = field.partition(".")
    body = json.dumps(PLAIN | {outer: {inner: value} if inner else value})
    head = {"Content-Type": "application/json"}
    answer = client.post("/txt2img", content=body, headers=head)
    assert answer.status_code == 422, answer.text
    said = answer.json()
    assert said["field"] == field and said["errors"][0]["field"] == field
    assert said["detail"].endswith(".") and "Traceback" not in answer.text


def test_text_that_is_no_unicode_in_a_field_nobody_knows_does_no_harm(client: httpx.Client):
    content = json.dumps(PLAIN | {"mood": "\ud800", "number": float("inf")})
    head = {"Content-Type": "application/json"}
    assert client.post("/txt2img", content=content, headers=head).status_code == 200


def test_a_slip_of_the_pen_is_told_from_a_field_nobody_knows(client: httpx.Client):
    answer = client.post("/txt2img", json=PLAIN | {"negativ_prompt": "ugly"})
    assert (answer.status_code, answer.json()["field"]) == (422, "negativ_prompt")
    assert "negative_prompt" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("tiling", True), ("outdir_samples", "/tmp"), ("samples_format", "jpg"), ("emphasis", "Loud")],
)
def test_an_option_that_cannot_be_set_is_named(client: httpx.Client, key: str, value: Any):
    answer = client.post("/options", json={key: value})
    assert (answer.status_code, answer.json()["field"]) == (422, key)


@pytest.mark.parametrize("image", ["no base64!", "", "aGVsbG8="])
def test_what_is_no_picture_has_no_png_info(client: httpx.Client, image: str):
    answer = client.post("/png-info", json={"image": image})
    assert (answer.status_code, answer.json()["field"]) == (422, "image")


def test_a_picture_without_parameters_is_no_mistake(client: httpx.Client):
    answer = client.post("/png-info", json={"image": picture_text()})
    assert answer.json() == {"info": "", "items": {}, "parameters": {}}


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_refused(client: httpx.Client, content: bytes):
    head = {"Content-Type": "application/json"}
    answer = client.post("/txt2img", content=content, headers=head)
    assert answer.status_code in (400, 422) and "detail" in answer.json()


@pytest.mark.parametrize("path", ["/img2img", "/interrogate", "/no/such/thing"])
def test_what_is_not_here_is_said_by_name(client: httpx.Client, path: str):
    for answer in (client.get(path), client.post(path, json={})):
        assert answer.status_code == 404 and path in answer.json()["detail"]


def test_img2img_is_said_to_be_missing_in_words_whatever_is_sent(client: httpx.Client):
    body = {"init_images": [picture_text((1200, 1200))], "prompt": "a star"}
    answer = client.post("/img2img", json=body)
    assert answer.status_code == 404
    assert "images to begin with are not there yet" in answer.json()["detail"]
    assert answer.json()["message"] == answer.json()["detail"]


def test_a_body_too_large_is_refused_before_it_is_read(client: httpx.Client):
    answer = client.post("/png-info", content=b" " * (MOST_PICTURE_BYTES + 1))
    assert answer.status_code == 413 and answer.json()["error"] == "TooLarge"


def test_a_body_of_untold_size_is_refused_once_it_is_too_large(client: httpx.Client):
    head = {"Content-Type": "application/json"}
    parts = (b" " * (1 << 20) for _ in range((MOST_PICTURE_BYTES >> 20) + 1))
    answer = client.post("/png-info", content=parts, headers=head)
    assert answer.status_code == 413


@pytest.mark.parametrize("name", ["../evil", "star", "con", "a" * 200, "<script>"])
def test_a_name_that_cannot_be_is_refused(client: httpx.Client, name: str):
    answer = client.post("/create/embedding", json={"name": name, "init_text": "star"})
    assert (answer.status_code, answer.json()["field"]) == (422, "name")


@pytest.mark.parametrize("digits", [19, 400, 1000, 4000, 5000])
@pytest.mark.parametrize("field", ["seed", "cfg_scale", "steps", "prompt", "mood", "infotext"])
def test_a_number_of_many_digits_is_a_mistake_of_the_client(
    client: httpx.Client, field: str, digits: int
):
    body = f'{{"prompt": "a red star", "steps": 1, "{field}": {"9" * digits}}}'
    head = {"Content-Type": "application/json"}
    answer = client.post("/txt2img", content=body.encode(), headers=head)
    assert answer.status_code == (422 if digits < 4300 else 400), answer.text


def test_a_parameters_text_has_a_limit(client: httpx.Client):
    answer = client.post("/txt2img", json=PLAIN | {"infotext": "a, " * 1_000_000})
    assert (answer.status_code, answer.json()["field"]) == (422, "infotext")


def test_pictures_are_counted_before_they_are_read(client: httpx.Client):
    body = {"embedding_name": "many", "init_text": "star", "pictures": ["no image"] * 1001}
    answer = client.post("/train/embedding", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, "pictures")
    assert "1001" in answer.json()["detail"]
