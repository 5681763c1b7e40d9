"""Several names in one run: which images show them, and where captions call them."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.errors import BadField
from webui.training.learned.concepts import (
    MOST,
    Concept,
    concept_shown,
    concepts_of,
    marked,
    names_in,
    title_of,
)

LONG = [f"{'n' * 60}{number}" for number in range(MOST)]
NAMES = ("my-cat", "my-cat-2", "Ann")


def test_names_stand_between_commas_and_each_has_its_words_or_the_same():
    assert names_in("my-cat , my-dog,") == ("my-cat", "my-dog")
    assert names_in("") == ("",)
    assert concepts_of("a, b", "grey cat, dog") == (Concept("a", "grey cat"), Concept("b", "dog"))
    assert concepts_of("a, b", "cat") == (Concept("a", "cat"), Concept("b", "cat"))
    assert concepts_of("a", "grey, striped cat") == (Concept("a", "grey, striped cat"),)


def test_files_of_many_names_have_names_that_disks_take():
    assert title_of(["my-cat", "my-dog"]) == "my-cat+my-dog"
    assert len(title_of(LONG)) <= 80 and title_of(["a." * 50])[-1] == "a"


@pytest.mark.parametrize(
    ("names", "words", "field"),
    [
        ("a, b, c", "cat, dog", "initializer"),
        ("a, A", "cat", "name"),
        (", ".join(f"n{number}" for number in range(MOST + 1)), "cat", "name"),
    ],
)
def test_names_and_words_that_do_not_match_are_refused(names: str, words: str, field: str):
    with pytest.raises(BadField) as refused:
        concepts_of(names, words)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("my-cat/1.png", 0),
        ("20_my-cat-2/1.png", 1),
        ("5_Ann woman/my-cat 1.png", 2),
        ("uploads/my-cat 03.png", 0),
        ("uploads/my-cat-2_03.png", 1),
        ("uploads/ANN.png", 2),
        ("uploads/anna.png", None),
        ("my-cats/1.png", None),
    ],
)
def test_an_image_shows_the_name_of_its_folder_or_the_one_it_is_called_by(
    path: str, shown: int | None
):
    assert concept_shown(Path(path), NAMES) == shown
    assert concept_shown(Path(path), ("alone",)) == 0


def test_names_in_a_caption_are_found_as_in_prompts():
    said = "a photo of a [name] beside Ann and (my-cat), not annual or my-cat-25"
    assert marked(said, NAMES, 1) == (
        "a photo of a [name 2] beside [name 3] and ([name]), not annual or my-cat-25"
    )
