"""Names of new embeddings."""

from __future__ import annotations

import pytest

from webui.models.model import Model
from webui.training.naming import name_advice, name_problem


@pytest.mark.parametrize("name", ["my-cat", "sks_mug", "1a1xyz", "katzé-v2", "v1.5-toy"])
def test_names_of_ones_own_are_taken(model: Model, name: str):
    assert name_problem(name, model.tokenizer, [], False) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "Give the embedding a name"),
        ("  ", "Give the embedding a name"),
        ("cat", "ordinary word"),
        ("Painting", "ordinary word"),
        ("../cat", "letters, digits"),
        ("a/b", "letters, digits"),
        (".hidden", "letters, digits"),
        ("my cat", "letters, digits"),
        ("cat,dog", "letters, digits"),
        ("(cat:2)", "letters, digits"),
        ("<cat>", "letters, digits"),
        ("cat.", "letters, digits"),
        ("aux.mug", "reserved"),
        ("x" * 65, "longer than 64"),
    ],
)
def test_names_that_cannot_be_used_are_explained(model: Model, name: str, told: str):
    assert told in name_problem(name, model.tokenizer, [], False)


def test_a_name_in_use_is_refused_whatever_its_case_unless_replaced(model: Model):
    assert "already" in name_problem("My-Cat", model.tokenizer, ["my-cat"], False)
    assert name_problem("My-Cat", model.tokenizer, ["my-cat"], True) is None


def test_names_that_begin_alike_are_warned_of(model: Model):
    assert "bad-hands-5" in name_advice("bad-hands", model.tokenizer, ["bad-hands-5", "other"])
    assert name_advice("my-mug", model.tokenizer, ["bad-hands-5", "my-mug"]) is None


def test_a_name_that_is_not_entered_yet_is_like_no_other(model: Model):
    assert name_advice("", model.tokenizer, ["bad-hands-5"]) is None
    assert name_advice(" ", model.tokenizer, ["bad-hands-5"]) is None
