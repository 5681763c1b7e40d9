"""What calls an embedding in an edit is what calls it in a drawing."""

from __future__ import annotations

import torch

from webui.embeddings.sidecars import Notes
from webui.prompting.editing.rules import finder_of


def names(shelf, model, anywhere: bool, text: str) -> list[str]:
    return [call.name for call in finder_of(shelf, model, anywhere)(text)]


def test_the_model_and_the_notes_decide_which_names_are_found(shelf, sd1):
    shelf.put("bad hands", {"clip_l": torch.ones(1, 17)})
    shelf.change_card("v1", notes=Notes(explicit_only=True))
    assert names(shelf, sd1, False, "bad hands, v1, <v1>") == ["bad", "v1"]
    assert names(shelf, None, False, "bad hands, v1, <v1>") == ["bad hands", "v1"]
    assert names(shelf, sd1, True, "bad-handsome") == ["bad"]
    assert names(shelf, sd1, False, "bad-handsome") == []
