"""Suggestions for names that do not exist."""

from __future__ import annotations

import pytest

from webui.prompting.nearest import Nearest, missing_sentence

NAMES = ["BadDream_v2", "easynegative", "marc_allante", "bad-hands-5", "猫", "retro poster"]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("baddream", "BadDream_v2"),
        ("Bad_Dream", "BadDream_v2"),
        ("baddream-v3", "BadDream_v2"),
        ("EasyNegativ", "easynegative"),
        ("easynegativev2", "easynegative"),
        ("marc-allante", "marc_allante"),
        ("mark_alante", "marc_allante"),
        ("bad-hands", "bad-hands-5"),
        ("retroposter", "retro poster"),
        ("something else", None),
        ("", None),
        ("犬", None),
    ],
)
def test_a_name_that_looks_alike_is_suggested(word: str, name: str | None):
    assert Nearest(NAMES).to(word) == name


def test_the_sentence_names_what_was_written_and_what_may_have_been_meant(shelf):
    assert missing_sentence("easynegativ", shelf) == (
        "There is no embedding “easynegativ”; did you mean “easynegative”?"
    )
    assert missing_sentence("zzz", shelf) == "There is no embedding “zzz”; it was left out."


def test_a_name_is_found_among_thousands_that_look_alike():
    nearest = Nearest([*(f"emb-{number}" for number in range(5_000)), "emb-quarry"])
    assert nearest.to("emb-quary") == "emb-quarry"
