"""A collection of embeddings with a few more beside it."""

from __future__ import annotations

import pytest
import torch

from tests.prompting.prompt_parts import Shelf
from webui.embeddings.embedding import Embedding
from webui.prompting.source import Overlay


def draft(name: str) -> Embedding:
    return Embedding(name, {"clip_l": torch.ones(7, 16)})


@pytest.mark.parametrize("first", [True, False])
def test_more_embeddings_are_found_beside_those_of_the_collection(shelf: Shelf, first: bool):
    more = draft("Draft")
    both = Overlay(shelf, [more], first)
    assert both.get("draft") is more and both.get("v1") is shelf.get("v1")
    assert both.get("neither") is None is both.card("neither")
    assert (both.card("DRAFT").vectors, both.card("draft").name) == (7, "Draft")
    assert both.card("draft").content_hash == more.content_hash
    assert sorted(both.names()) == sorted([*shelf.names(), "Draft"])
    assert both.version == shelf.version


def test_of_one_name_the_collections_counts_unless_the_other_comes_first(shelf: Shelf):
    more = draft("Bad")
    assert Overlay(shelf, [more]).get("bad") is shelf.get("bad")
    first = Overlay(shelf, [more], first=True)
    assert first.get("bad") is more and len(first.names()) == len(shelf.names())
    assert first.card("bad").vectors == 7
