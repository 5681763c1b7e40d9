"""Requests are checked field by field, and the message says what to do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.field_tables import DOCS, request_table, written
from webui.errors import BadField
from webui.generation.request import MAX_SEED, GenerationRequest, checked

GOOD = GenerationRequest(
    prompt="a red heart",
    seed=7,
    subseed=8,
    subseed_strength=0.1,
    width=512,
    height=768,
    hires=True,
)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("prompt", "  \n", "prompt is empty"),
        ("prompt", "x" * 20_001, "at most 20,000"),
        ("width", 7, "between 64 and 2048, not 7"),
        ("width", 513, "a multiple of 8 between 64 and 2048, not 513"),
        ("height", 4096, "between 64 and 2048"),
        ("steps", 0, "Steps must be between 1 and 150, not 0"),
        ("steps", 151, "between 1 and 150"),
        ("cfg_scale", 0.5, "CFG scale must be between 1 and 30"),
        ("cfg_scale", math.nan, "CFG scale"),
        ("sampler", "Eular", "Sampling method: there is no “Eular”"),
        ("schedule_type", "Karas", "Schedule type: there is no “Karas”"),
        ("seed", -2, "Seed"),
        ("seed", MAX_SEED + 1, "Seed must be between -1 and 4294967295"),
        ("batch_size", 9, "Batch size"),
        ("batch_count", 0, "Batch count"),
        ("clip_skip", 0, "Clip skip"),
        ("eta", 1.5, "Eta must be between 0 and 1, not 1.5"),
        ("emphasis", "loud", "Emphasis: there is no “loud”"),
        ("subseed", -2, "Variation seed"),
        ("subseed_strength", 1.1, "Variation strength must be between 0 and 1"),
        ("hires_sampler", "Eular", "Hires sampling method: there is no “Eular”"),
        ("hires_scale", 0.5, "Upscale by must be between 1 and 4"),
        ("hires_scale", math.nan, "Upscale by"),
        ("hires_width", 1001, "Resize width to must be a multiple of 8"),
        ("hires_width", 4096, "would become 4096×6144"),
        ("hires_height", 8, "would become 0×8"),
        ("hires_steps", 151, "Hires steps"),
        ("denoising_strength", -0.1, "Denoising strength"),
    ],
)
def test_a_bad_value_is_refused_at_its_field(field: str, value: object, words: str):
    with pytest.raises(BadField, match=words) as caught:
        checked(replace(GOOD, **{field: value}))
    assert caught.value.field == field


def test_a_good_request_comes_back_as_it_is():
    assert checked(GOOD) == GOOD


def test_seed_minus_one_becomes_a_drawn_seed():
    seeds = {checked(replace(GOOD, seed=-1)).seed for _ in range(5)}
    assert len(seeds) > 1
    assert all(0 <= seed <= MAX_SEED for seed in seeds)


def test_without_a_second_pass_its_settings_are_not_looked_at():
    request = replace(GOOD, hires=False, hires_scale=99, hires_sampler="Magic")
    assert checked(request) == request


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (1024, 1536)),
        ({"hires_scale": 1.3}, (664, 992)),
        ({"hires_width": 1024}, (1024, 1536)),
        ({"hires_height": 1000}, (664, 1000)),
        ({"hires_width": 1024, "hires_height": 1024}, (1024, 1024)),
    ],
)
def test_the_size_after_the_second_pass(changes: dict, size: tuple[int, int]):
    assert replace(GOOD, **changes).hires_size == size


def test_the_documentation_has_every_field_as_it_is_declared():
    text = (DOCS / "txt2img.md").read_text(encoding="utf-8")
    assert text == written(text, request_table()), "run python -m tests.field_tables"
    assert request_table() in text


def test_the_pixels_of_a_batch_are_bounded_together():
    large = {"prompt": "a", "width": 2048, "height": 2048}
    assert checked(GenerationRequest(**large, batch_size=4, batch_count=8)).batch_size == 4
    with pytest.raises(BadField) as caught:
        checked(GenerationRequest(**large, batch_size=5))
    assert caught.value.field == "batch_size"
    with pytest.raises(BadField):
        checked(GenerationRequest(**large, batch_size=2, hires=True))
