"""A parameters text becomes values of the controls, in their order."""

from __future__ import annotations

import gradio as gr

from webui.studio.studio import Studio
from webui.ui.txt2img.apply_parameters import apply_infotext
from webui.ui.txt2img.controls import FIELDS, FROM_MODEL

TEXT = (
    "a <b>heart</b>\nNegative prompt: a star\nSteps: 7, Sampler: Euler a, Schedule type: Karras, "
    "CFG scale: 5.5, Seed: 3, Clip skip: 2, <i>ENSD: 31337"
)


def test_what_the_text_says_is_set_and_the_rest_stays(studio: Studio):
    *values, held, told = apply_infotext(studio, TEXT)
    given = dict(zip(FIELDS, values, strict=True))
    assert (given["prompt"], given["negative_prompt"]) == ("a <b>heart</b>", "a star")
    assert (given["steps"], given["sampler"], given["schedule_type"]) == (7, "Euler a", "Karras")
    assert given["clip_skip"] == 2 and given["hires"] is False
    assert given["width"] == given["batch_size"] == gr.skip()
    assert held == [None] * len(FROM_MODEL)
    assert "ENSD" in told and "<i>" not in told


def test_a_text_that_is_too_long_changes_nothing(studio: Studio):
    *values, told = apply_infotext(studio, "a" * 200_000)
    assert all(value == gr.skip() for value in values) and "longer" in told
