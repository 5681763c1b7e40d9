"""What calls an embedding in an edit is what calls it in a drawing."""

from __future__ import annotations

import torch

from webui.embeddings.embedding import OUTPUT
from webui.embeddings.sidecars import Notes
from webui.prompting.editing.rules import finder_of


def names(shelf, model, anywhere: bool, text: str) -> list[str]:
    return [call.name for call in finder_of(shelf, model, anywhere)(text)]


def test_what_only_a_negative_prompt_can_call_is_found_too(shelf, sd1):
    shelf.put("reneg", {"clip_l": torch.ones(77, 16)}, OUTPUT)
    assert names(shelf, sd1, False, "reneg") == names(shelf, sd1, True, "reneg") == ["reneg"]


def test_the_model_and_the_notes_decide_which_names_are_found(shelf, sd1):
    shelf.put("bad hands", {"clip_l": torch.ones(1, 17)})
    shelf.change_card("v1", notes=Notes(explicit_only=True))
    assert names(shelf, sd1, False, "bad hands, v1, <v1>") == ["bad", "v1"]
    assert names(shelf, None, False, "bad hands, v1, <v1>") == ["bad hands", "v1"]
    assert names(shelf, sd1, True, "bad-handsome") == ["bad"]
    assert names(shelf, sd1, False, "bad-handsome") == []
