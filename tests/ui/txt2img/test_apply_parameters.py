"""A parameters text becomes values of the controls, by component."""

from __future__ import annotations

import gradio as gr
import pytest

from webui.generation.request import FIELDS
from webui.studio.studio import Studio
from webui.ui.txt2img.apply_parameters import Target, apply_infotext
from webui.ui.txt2img.controls import FROM_MODEL

TEXT = (
    "a <b>heart</b>\nNegative prompt: a star\nSteps: 7, Sampler: Euler a, Schedule type: Karras, "
    "CFG scale: 5.5, Seed: 3, Clip skip: 2, <i>ENSD: 31337"
)


@pytest.fixture
def target() -> Target:
    with gr.Blocks():
        return Target({name: gr.Textbox() for name in FIELDS}, gr.JSON(), gr.HTML())


def test_what_the_text_says_is_set_and_the_rest_stays(studio: Studio, target: Target):
    changes = apply_infotext(studio, target, TEXT)
    given = {name: changes[box] for name, box in target.controls.items() if box in changes}
    assert (given["prompt"], given["negative_prompt"]) == ("a <b>heart</b>", "a star")
    assert (given["steps"], given["sampler"], given["schedule_type"]) == (7, "Euler a", "Karras")
    assert given["clip_skip"] == 2 and given["hires"] is False
    assert not {"width", "batch_size"} & given.keys()
    assert changes[target.held] == [None] * len(FROM_MODEL)
    messages = changes[target.messages]
    assert "Ignored (unsupported)" in messages and "ENSD" in messages and "<i>" not in messages


def test_a_text_that_is_too_long_changes_nothing(studio: Studio, target: Target):
    [(changed, sentence)] = apply_infotext(studio, target, "a" * 200_000).items()
    assert changed is target.messages and "longer" in sentence
