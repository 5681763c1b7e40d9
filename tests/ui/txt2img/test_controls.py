"""What the controls make of values: requests, and what a browser has kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webui.errors import BadField
from webui.generation.request import FIELDS, GenerationRequest
from webui.studio.studio import Studio
from webui.ui import page
from webui.ui.polling import Poll
from webui.ui.txt2img.controls import element_id, read, restored

OLD = Path(__file__).parent / "old_files"
USUAL = {field: getattr(GenerationRequest(), field) for field in FIELDS}


def values(**changes: Any) -> tuple[Any, ...]:
    return tuple((USUAL | changes)[field] for field in FIELDS)


def test_every_field_of_a_request_has_a_control(studio: Studio):
    config = page.build(studio, Poll()).config
    ids = {component["props"].get("elem_id") for component in config["components"]}
    assert {element_id(field) for field in FIELDS} <= ids


def test_the_controls_make_a_request():
    assert read(values(eta=None)).eta is None
    request = read(values(prompt="a", steps=7.0, styles=["one"], hires=True, subseed_strength=0.2))
    assert request == GenerationRequest(
        "a", steps=7, styles=("one",), hires=True, subseed_strength=0.2
    )


def test_all_empty_controls_are_told():
    with pytest.raises(BadField) as caught:
        read(values(steps=None, hires_scale=None))
    assert caught.value.field == "steps"
    assert list(caught.value.messages) == ["steps", "hires_scale"]


def test_what_a_browser_kept_comes_back():
    saved = {"prompt": "a cat", "steps": 7, "styles": ["x"], "hires_scale": 3, "hires": True}
    assert restored(saved) == saved
    assert restored({"prompt": "", "eta": None}) == {"prompt": "", "eta": None}


def test_what_a_browser_kept_of_version_0_1_0_comes_back():
    saved = json.loads((OLD / "browser_memory.json").read_text(encoding="utf-8"))
    del saved["late_schedules"]  # what it stood for is the usual now
    assert restored(saved) == saved


@pytest.mark.parametrize(
    "saved",
    [
        None,
        [1, 2],
        "text",
        {"steps": "7"},
        {"steps": 1000},
        {"steps": True},
        {"sampler": "No such sampler"},
        {"cfg_scale": float("nan")},
        {"styles": "x"},
        {"prompt": ["x"]},
        {"prompt": "x" * 30_000},
        {"unknown": 5},
    ],
)
def test_what_is_no_longer_valid_is_left_out(saved: Any):
    assert restored(saved) == {}


def test_a_number_that_may_be_empty_is_written_as_text():
    assert [read(values(eta=text)).eta for text in ("", " 0.5", None)] == [None, 0.5, None]
    assert restored({"eta": "0.5"}) == {"eta": 0.5}
    assert restored({"eta": ""}) == {"eta": None}
    assert restored({"eta": "much"}) == restored({"eta": "2"}) == {}
    with pytest.raises(BadField, match="Eta must be a number between 0 and 1, not much"):
        read(values(eta="much"))
