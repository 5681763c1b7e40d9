"""The examples in docs/prompts.md do what they say."""

from __future__ import annotations

import re

import pytest
import torch

from tests.prompting.prompt_parts import Shelf
from webui.prompting import xray
from webui.prompting.grammar import weigh
from webui.prompting.schedule import stages
from webui.settings import ROOT

PAGE = (ROOT / "docs" / "prompts.md").read_text(encoding="utf-8")
EXAMPLES = [
    line
    for block in re.findall(r"^```\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_understood_without_a_warning(example: str, shelf: Shelf, tokenizer):
    shelf.change_card("easynegative", folder="faces")
    assert xray.read(example, tokenizer, shelf, {"clip_l": 16}, "tiny").warnings == ()


@pytest.mark.parametrize("call", [line for line in EXAMPLES if "easynegative" in line][:5])
def test_all_ways_to_call_an_embedding_call_it(call: str, shelf: Shelf, tokenizer):
    pieces = xray.read(call, tokenizer, shelf, {"clip_l": 16}, "tiny").pieces
    assert pieces[-1].name == "easynegative"


def test_the_table_of_weights_is_right():
    rows = dict(re.findall(r"^\| `(\([^`]*\)|\[[^`]*\])` \| ([\d.]+) \|$", PAGE, re.MULTILINE))
    assert len(rows) == 3
    for written, weight in rows.items():
        assert weigh(written).segments[0].weight == pytest.approx(float(weight), abs=0.005)
    heavier = weigh("((cat:1.2) on a mat:1.5)").segments
    assert [segment.weight for segment in heavier] == pytest.approx([1.8, 1.5])


def test_the_table_of_schedules_is_right():
    assert [stage.last_step for stage in stages("[cat:dog:0.4]", 20)] == [8, 20]
    assert [stage.text for stage in stages("[fe|]male", 2)] == ["female", "male"]


def test_an_embedding_marked_explicit_only_is_a_word_unless_called(shelf: Shelf, tokenizer):
    from webui.embeddings.sidecars import Notes

    shelf.put("painting", {"clip_l": torch.zeros(1, 16)}, notes=Notes(explicit_only=True))
    pieces = xray.read("painting <painting>", tokenizer, shelf, {"clip_l": 16}, "tiny").pieces
    assert [piece.kind for piece in pieces] == ["text", "embedding"]
