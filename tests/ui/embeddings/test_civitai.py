"""The button asks only when it is pressed, and is not there where the settings forbid it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from tests.parts import studio_without_model
from webui.studio.civitai import LookupState
from webui.ui.embeddings import civitai
from webui.ui.polling import Poll


def buttons(place: Path, allowed: bool) -> list[str]:
    with studio_without_model(place) as studio, gr.Blocks() as page:
        studio.settings = replace(studio.settings, civitai=allowed)
        civitai.build(studio, Poll())
        assert not studio.civitai.state.version, "nothing is asked by building it"
    return [block.value for block in page.blocks.values() if isinstance(block, gr.Button)]


def test_the_button_is_there_unless_the_settings_forbid_it(tmp_path: Path):
    assert buttons(tmp_path / "a", True) == ["Look up on CivitAI"]
    assert buttons(tmp_path / "b", False) == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (LookupState(), ""),
        (LookupState(1, running=True, asked=100, total=250), "100 of 250 asked"),
        (LookupState(2, asked=5, total=5, found=2), "2 of 5 embeddings were found"),
        (LookupState(2), "There is nothing to look up"),
        (LookupState(2, total=5, problem="CivitAI <cannot> be reached."), "&lt;cannot&gt;"),
    ],
)
def test_what_came_of_it_is_said(state: LookupState, said: str):
    assert said in civitai._said(state)
