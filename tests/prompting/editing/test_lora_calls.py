"""LoRAs' calls put behind prompts and taken out, with everything else left as it was."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.prompting.editing.edit_parts import TEXTS
from webui.prompting.editing.lora_calls import insert_lora, lora_call_text, remove_lora
from webui.prompting.loras import take_loras


def is_ink(name: str) -> bool:
    return name.casefold() in ("ink", "styles/ink")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a cat", None),
        ("a cat <lora:inky:1>", None),
        ("a cat <lora:ink:1>", "a cat"),
        ("a cat, <lora:Ink:0.8>, a hat", "a cat, a hat"),
        ("<lora:ink>", ""),
        ("a <lora:styles/ink:0.5:1> cat", "a cat"),
        ("two<lora:ink:1>words", "twowords"),
        ("a cat <lora:ink:1>\na hat", "a cat\na hat"),
        ("a cat # <lora:ink:1>", None),
        ("a cat <hypernet:ink:1>", None),
    ],
)
def test_a_call_is_taken_out_and_the_rest_stays(text: str, left: str | None):
    edit = remove_lora(text, 0, is_ink)
    assert (edit and edit.text) == left


def test_the_caret_stays_where_it_was():
    assert insert_lora("a cat", 1, 2, "<lora:ink:1>").start == 1
    edit = remove_lora("a <lora:ink:1> cat", 18, is_ink)
    assert edit and edit.text[: edit.start] == "a cat"
    edit = remove_lora("a <lora:ink:1> cat", 6, is_ink)
    assert edit and edit.text[: edit.start] == "a "


@given(TEXTS)
def test_what_is_put_in_is_understood_and_taken_out_again(text: str):
    _, before, _ = take_loras(text)
    once = insert_lora(text, 0, 0, "<lora:ink:1>")
    _, calls, _ = take_loras(once.text)
    assert [call.name for call in calls] == [*(call.name for call in before), "ink"]
    back = remove_lora(once.text, len(once.text), is_ink)
    assert back and back.text.rstrip(", \n") == text.rstrip(", \n")


@pytest.mark.parametrize(
    ("name", "weight", "written"),
    [
        ("ink", None, "<lora:ink:1>"),
        ("ink v2 (soft)", 0.8, "<lora:ink v2 (soft):0.8>"),
        ("a:b", None, None),
        ("a>b", None, None),
    ],
)
def test_a_name_is_written_if_a_call_can_have_it(
    name: str, weight: float | None, written: str | None
):
    assert lora_call_text(name, weight) == written
