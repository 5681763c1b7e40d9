"""Which embedding a name calls, and what is said about those that cannot be used."""

from __future__ import annotations

import pytest
import torch

from tests.prompting.prompt_parts import Shelf
from webui.embeddings.embedding import Embedding
from webui.errors import AppError, UnreadableFile
from webui.prompting.lookup import Lookup, Nearest, missing_sentence
from webui.prompting.tokens import tokens_of

WIDTHS = {"clip_l": 16}
NAMES = ["BadDream_v2", "easynegative", "marc_allante", "bad-hands-5", "猫", "retro poster"]


def lookup_in(shelf: Shelf, load: bool = True) -> Lookup:
    return Lookup(shelf, WIDTHS, "tiny", load)


def test_an_embedding_that_fits_is_found_in_any_case(shelf: Shelf):
    lookup = lookup_in(shelf)
    assert lookup.resolve("EASYNEGATIVE") is shelf.get("easynegative")
    assert lookup.warnings == ()


def test_vectors_are_not_read_where_only_cards_are_asked_for(shelf: Shelf):
    shelf.embeddings.clear()
    assert len(lookup_in(shelf, load=False).resolve("easynegative")) == 4


def test_an_embedding_of_another_family_is_left_as_words_and_the_sentence_says_why(shelf: Shelf):
    shelf.put("sdxl_face", {"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)})
    lookup = lookup_in(shelf)
    assert lookup.called("sdxl_face", known=True, folder="") == "sdxl_face"
    assert lookup.warnings == (
        "The embedding “sdxl_face” was left as words. Made for SDXL (768+1280); “tiny” needs 16.",
    )


def test_a_file_with_a_problem_is_left_as_words(shelf: Shelf):
    shelf.change_card("bad", problem="The file is cut off.")
    lookup = lookup_in(shelf)
    assert lookup.called("bad", known=False, folder="") == "bad"
    assert lookup.warnings == ("The embedding “bad” was left as words. The file is cut off.",)


def test_a_file_that_breaks_while_it_is_read_is_left_as_words(shelf: Shelf):
    class Breaking(Shelf):
        def get(self, name: str) -> Embedding | None:
            raise UnreadableFile("bad.pt ends too early.")

    broken = Breaking(1, shelf.embeddings, shelf.cards)
    lookup = lookup_in(broken)
    assert lookup.resolve("bad") is None
    assert lookup.warnings == ("The embedding “bad” was left as words. bad.pt ends too early.",)


def test_a_file_that_went_away_meanwhile_is_left_as_words(shelf: Shelf):
    shelf.embeddings.clear()
    lookup = lookup_in(shelf)
    assert lookup.resolve("bad") is None
    assert "gone" in lookup.warnings[0]


def test_an_embedding_of_more_than_75_vectors_is_refused(shelf: Shelf):
    shelf.put("huge", {"clip_l": torch.zeros(76, 16)})
    with pytest.raises(AppError, match="“huge” has 76 vectors; a chunk of the prompt holds 75"):
        lookup_in(shelf).resolve("huge")
    reading = lookup_in(shelf, load=False)
    assert reading.resolve("huge") is None
    assert len(reading.warnings) == 1


def test_names_marked_explicit_only_are_not_called_by_the_bare_word(shelf: Shelf):
    from webui.embeddings.sidecars import Notes

    shelf.change_card("bad", notes=Notes(explicit_only=True))
    lookup = lookup_in(shelf)
    assert not lookup.accept("bad")
    assert lookup.called("bad", known=True, folder="") is shelf.get("bad")


def test_a_name_that_does_not_exist_is_left_out_with_a_suggestion(shelf: Shelf):
    lookup = lookup_in(shelf)
    assert lookup.called("easynegativ", known=False, folder="") == ""
    assert "did you mean “easynegative”?" in lookup.warnings[0]


def test_another_folder_than_the_one_written_is_said(shelf: Shelf):
    shelf.change_card("bad", folder="negative/old")
    lookup = lookup_in(shelf)
    for written in ("old", "negative/old", "Negative/Old"):
        lookup.called("bad", known=True, folder=written)
    assert lookup.warnings == ()
    assert lookup.called("bad", known=True, folder="new") is shelf.get("bad")
    assert "taken from the folder “negative/old”" in lookup.warnings[0]


def test_training_on_another_checkpoint_is_a_remark(shelf: Shelf):
    shelf.change_card("bad", trained_on="anime-v3")
    shelf.change_card("v1", trained_on="TINY")
    lookup = lookup_in(shelf)
    lookup.resolve("bad")
    lookup.resolve("v1")
    assert lookup.remarks == (
        "“bad” was trained on another checkpoint, anime-v3; with tiny it may look different.",
    )


@pytest.mark.parametrize(
    ("text", "remarks"),
    [
        ("cat, easynegativ", ["There is no embedding “easynegativ”; did you mean “easynegative”?"]),
        ("marcallante", ["There is no embedding “marcallante”; did you mean “Marc_Allante”?"]),
        ("a painting of bad hands, easynegative", []),
    ],
)
def test_bare_words_that_look_like_a_name_are_remarked_on(text, remarks, shelf, tokenizer):
    lookup = lookup_in(shelf)
    lookup.look_for_near_misses([text], tokens_of(tokenizer))
    assert list(lookup.remarks) == remarks


def test_bare_words_whose_file_is_broken_are_warned_of(shelf: Shelf):
    shelf.change_card("easynegative", problem="The file is empty.")
    lookup = lookup_in(shelf)
    lookup.look_for_broken_names(["a cat, EasyNegative."])
    assert "The file is empty." in lookup.warnings[0]


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
