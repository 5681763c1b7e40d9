"""Calls of embeddings in a text."""

from __future__ import annotations

import pytest

from webui.prompting.names import (
    NameIndex,
    boundary_after,
    boundary_before,
    find_calls,
)

NAMES = [
    "bad", "bad-hands-5", "EasyNegative", "v1", "my emb", "my(emb)", "c++", "x.y", "pékora",
    "猫", "Женя", "😀", "👩‍🚀", "rock & roll", "it's", "[square]", "salt AND pepper", "200",
]  # fmt: skip

BARE = [
    # text                         names found
    ("bad", ["bad"]),
    ("a BAD cat, bad.", ["bad", "bad"]),
    ("bad-hands-5, bad", ["bad-hands-5", "bad"]),
    ("badly, unbad, bad_x, x_bad, bad2", []),
    ("bad-hands", []),
    ("not-bad", []),
    ("bad - hands", ["bad"]),
    ("(bad:1.2) [bad] bad,bad", ["bad", "bad", "bad", "bad"]),
    ("bad's hat", ["bad"]),
    ("easynegative EASYNEGATIVE", ["EasyNegative", "EasyNegative"]),
    ("v10 v1.5 v1. v1", ["v1", "v1"]),
    ("my emb", ["my emb"]),
    ("my  \n emb", ["my emb"]),
    ("my(emb)", ["my(emb)"]),
    (r"my\(emb\)", ["my(emb)"]),
    (r"(my\(emb\):1.2)", ["my(emb)"]),
    ("c++ and (c++:1.1)", ["c++", "c++"]),
    ("x.y", ["x.y"]),
    ("PÉKORA", ["pékora"]),
    ("猫, 黒猫", ["猫"]),
    ("женя", ["Женя"]),
    ("😀😀 a😀b", ["😀", "😀", "😀"]),
    ("👩‍🚀", ["👩‍🚀"]),
    ("rock & roll", ["rock & roll"]),
    ("it's", ["it's"]),
    ("[square]", ["[square]"]),
    (r"\[square\]", ["[square]"]),
    ("bad.pt bad.safetensors bad.PNG", ["bad", "bad", "bad"]),
    ("bad.ptx", ["bad"]),
]

EXPLICIT = [
    # text                         (name, weight, folder)
    ("<bad>", ("bad", 1, "")),
    ("<BAD>", ("bad", 1, "")),
    ("<my emb>", ("my emb", 1, "")),
    ("<my(emb)>", ("my(emb)", 1, "")),
    ("<c++>", ("c++", 1, "")),
    ("<bad.safetensors>", ("bad", 1, "")),
    ("<embedding:bad>", ("bad", 1, "")),
    ("<embedding:bad:1.2>", ("bad", 1.2, "")),
    ("<embedding:bad.pt: -0.5 >", ("bad", -0.5, "")),
    ("<embedding:sub/bad:2>", ("bad", 2, "sub")),
    ("<bad:1.2>", ("bad", 1.2, "")),
    ("embedding:bad", ("bad", 1, "")),
    ("Embedding:BAD,", ("bad", 1, "")),
    ("embedding:bad.pt", ("bad", 1, "")),
    ("embedding:sub/bad", ("bad", 1, "sub")),
    ("embedding:sub/deeper/bad", ("bad", 1, "sub/deeper")),
    (r"embedding:sub\bad", ("bad", 1, "sub")),
    ("embedding:my emb", ("my emb", 1, "")),
    (r"embedding:my\(emb\)", ("my(emb)", 1, "")),
    ("(embedding:bad:1.2)", ("bad", 1, "")),
    ("embedding:bad-hands-5", ("bad-hands-5", 1, "")),
    ("embedding:猫", ("猫", 1, "")),
    ("embedding:😀", ("😀", 1, "")),
    ("(embedding:200)", ("200", 1, "")),
]

MISSING = [
    # text                         what was called
    ("<nothere>", "nothere"),
    ("embedding:nothere, bad", "nothere"),
    ("(embedding:nothere:1.2)", "nothere"),
    ("embedding:nothere.pt", "nothere"),
    ("<embedding:not here:1.2>", "not here"),
    ("embedding:badly", "badly"),
    ("embedding:bad-hands", "bad-hands"),
]

TEXT = ["i <3 you", "a < b > c", "<3>", "<>", "<", "embedding", "embedding: bad thing"[:10],
        "myembedding:x", "<|endoftext|>", "a <b c> d", "<embedding:>"]  # fmt: skip


def yes(name: str) -> bool:
    return True


@pytest.fixture(scope="module")
def index() -> NameIndex:
    return NameIndex(NAMES)


@pytest.mark.parametrize(("text", "expected"), BARE)
def test_bare_names_are_found_as_whole_words(text: str, expected: list, index: NameIndex):
    assert [call.name for call in find_calls(text, index, yes)] == expected


@pytest.mark.parametrize(("text", "expected"), EXPLICIT)
def test_explicit_calls_are_found_without_bare_names(text: str, expected: tuple, index: NameIndex):
    (call,) = find_calls(text, index)
    assert call.explicit and call.known
    assert (call.name, call.weight, call.folder) == expected


@pytest.mark.parametrize(("text", "name"), MISSING)
def test_explicit_calls_of_names_that_do_not_exist_are_found_too(
    text: str, name: str, index: NameIndex
):
    call = find_calls(text, index)[0]
    assert (call.name, call.known) == (name, False)


@pytest.mark.parametrize("text", TEXT)
def test_angles_and_colons_that_call_nothing_are_text(text: str, index: NameIndex):
    assert find_calls(text, index) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["{}", "<{}>", "embedding:{}", "<embedding:{}:1.2>"])
def test_every_name_can_be_called_in_every_form(name: str, form: str, index: NameIndex):
    (call,) = find_calls(f"a {form.format(name)}, b", index, yes)
    assert call.name == name


def test_the_call_ends_where_its_weight_begins(index: NameIndex):
    text = "(embedding:bad:1.2)"
    (call,) = find_calls(text, index)
    assert text[call.end :] == ":1.2)"


def test_a_shorter_name_is_taken_where_the_longer_one_is_not_accepted(index: NameIndex):
    index = NameIndex(["deep", "deep sea"])
    calls = find_calls("deep sea", index, lambda name: name == "deep")
    assert [call.name for call in calls] == ["deep"]


def test_an_accent_written_as_two_characters_is_found_in_a_composed_name():
    import unicodedata

    index = NameIndex([unicodedata.normalize("NFD", "pékora")])
    assert len(find_calls("pékora", index, yes)) == 1


def test_an_accent_after_a_name_makes_it_another_word(index: NameIndex):
    assert boundary_after("bad", 3)
    assert not boundary_after("bad\u0301", 3)
    assert boundary_before("a bad", 2)


@pytest.mark.parametrize("count", [20, 5_000])
def test_the_names_that_are_tried_do_not_grow_with_their_number(count: int):
    index = NameIndex(f"style {number} of hands" for number in range(count))
    tried: list[str] = []

    find_calls(
        "a cat, style 9 of hands, styles " * 40, index, lambda name: bool(tried.append(name))
    )

    assert tried == ["style 9 of hands"] * 40
