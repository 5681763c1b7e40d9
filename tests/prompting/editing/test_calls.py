"""Calls put into prompts and taken out, with everything else left as it was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.prompting.editing.edit_parts import EXPLICIT, INDEX, NAMES, TEXTS, find
from webui.prompting.editing.calls import call_text, insert, remove, toggle
from webui.prompting.editing.spans import Finder, find_anywhere, read_written
from webui.prompting.names import EmbeddingCall, NameIndex, find_calls
from webui.prompting.tokens import Tokens, token_tree


@pytest.fixture(scope="module")
def anywhere(tokenizer) -> Finder:
    tokens = Tokens(tokenizer)
    tree = token_tree(NAMES, tokens)
    return lambda text: find_anywhere(text, INDEX, tokens, tree, bool)


def taken(text: str, name: str, caret: int = 0) -> str | None:
    edit = remove(text, caret, name, find)
    return edit and edit.text


def put(text: str, call: str, name: str) -> str:
    caret = text.index("|")
    return insert(text.replace("|", ""), caret, caret, name, call, find).text


@pytest.mark.parametrize(
    ("text", "name", "left"),
    [
        ("an oil painting of a cat,", "painting", None),
        ("an oil painting, <painting>", "painting", "an oil painting"),
        ("<painting>", "painting", ""),
        ("embedding:foo, dog", "foo", "dog"),
        ("v1.5 look, v1", "v1", "v1.5 look"),
        ("a cat, ((bad:1.2)), a hat", "bad", "a cat, a hat"),
        ("a cat, bad-hands-5, bad, a hat", "bad", "a cat, bad-hands-5, a hat"),
        ("a,bad,b", "bad", "a,b"),
        ("a photo of bad on grass", "bad", "a photo of on grass"),
        ("(a, bad:1.2)", "bad", "(a:1.2)"),
        ("[bad:0.5] dog", "bad", " dog"),
        ("[cat:bad:0.5]", "bad", "[cat::0.5]"),
        ("[bad|dog]", "bad", "[|dog]"),
        (r"\(bad\)", "bad", r"\(\)"),
        ("# bad\nfoo", "bad", None),
        ("# bad\nbad", "bad", "# bad\n"),
        ("<lora:bad:1>, bad", "bad", "<lora:bad:1>"),
        (r"x, (c++ \(new\):0.8)", "c++ (new)", "x"),
        ("x, <embedding:sub/bad:1.2>, y", "bad", "x, y"),
        ("two <lora:x:1>words, y", "two words", "<lora:x:1>y"),
        ("e\u0301te\u0301, bad, e\u0301", "bad", "e\u0301te\u0301, e\u0301"),
    ],
)
def test_a_call_is_taken_out_and_the_rest_stays(text: str, name: str, left: str | None):
    assert taken(text, name) == left


@pytest.mark.parametrize(
    ("text", "call", "after"),
    [
        ("|", "bad", "bad"),
        ("a cat|", "bad", "a cat, bad"),
        ("a cat,|", "bad", "a cat, bad,"),
        ("a cat, |", "bad", "a cat, bad, "),
        ("a photo of |", "bad", "a photo of bad"),
        ("a ca|t on a mat", "bad", "a cat, bad on a mat"),
        ("|a cat", "bad", "bad, a cat"),
        ("(|a cat:1.2)", "bad", "(bad, a cat:1.2)"),
        ("[cat:|:0.5]", "bad", "[cat:bad:0.5]"),
        ("<lora:in|k:1>", "bad", "<lora:ink:1>, bad"),
        ("a # no|te\nb", "bad", "a # note\nb, bad"),
        ("an oil painting of a cat,|", "<painting>", "an oil painting of a cat, <painting>,"),
    ],
)
def test_a_call_is_put_in_as_an_item_of_its_own(text: str, call: str, after: str):
    assert put(text, call, call.strip("<>")) == after


def test_a_selection_is_replaced():
    edit = insert("a dog, b", 2, 5, "bad", "bad", find)
    assert edit.text == "a bad, b"


def test_of_several_calls_the_one_at_the_caret_goes():
    assert taken("bad, x, (bad:1.2), y", "bad", 12) == "bad, x, y"
    assert toggle("bad, y", 0, 0, "bad", "bad", find).text == "y"
    assert toggle("y", 0, 0, "bad", "bad", find).text == "bad, y"


FORMS = ["{0}", "<{1}>", "embedding:{0}", "<embedding:{1}:1.2>", "({0}:1.2)", "(<{1}>:0.8)"]


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 60), st.sampled_from(NAMES + EXPLICIT), st.sampled_from(FORMS))
def test_putting_in_and_taking_out_gives_the_text_back(text, caret, name, form):
    call = form.format(call_text(name), name) if name not in EXPLICIT else f"<{name}>"
    check(text, caret, name, call, find)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, caret=st.integers(0, 60), name=st.sampled_from(NAMES))
def test_so_it_does_where_names_are_found_anywhere(text, caret, name, anywhere):
    check(text, caret, name, call_text(name), anywhere)


NAMED = st.text(
    st.characters(exclude_characters="<>:|\n\r\t", exclude_categories=["C", "Z"]), min_size=1
)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 60), NAMED)
def test_so_it_does_with_any_name_that_can_be_called(text, caret, name):
    index = NameIndex([name])

    def find_one(text: str) -> list[EmbeddingCall]:
        return find_calls(text, index, lambda found: True)

    call = call_text(name)
    if [found.name for found in read_written(call, find_one).calls if found.known] == [name]:
        check(text, caret, name, call, find_one)


def check(text: str, caret: int, name: str, call: str, finder: Finder) -> None:
    caret = min(caret, len(text))
    edit = insert(text, caret, caret, name, call, finder)
    assert call in edit.text or f"<{name}>" in edit.text
    back = remove(edit.text, edit.start, name, finder)
    assert back is not None and back.text == text


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(NAMES))
def test_taking_out_loses_nothing_but_the_call(text, name):
    edit = remove(text, 0, name, find)
    if edit is not None:
        left = iter(text)
        assert all(letter in left for letter in edit.text.replace("\n", ""))


@pytest.mark.parametrize(
    ("name", "explicit", "weight", "call"),
    [
        ("marc_allante", False, None, "marc_allante"),
        ("my(emb)", False, None, r"my\(emb\)"),
        ("bad-hands-5", False, 0.8, "(bad-hands-5:0.8)"),
        ("painting", True, None, "<painting>"),
        ("#1", False, None, "<#1>"),
    ],
)
def test_what_calls_a_name(name: str, explicit: bool, weight: float | None, call: str):
    assert call_text(name, explicit, weight) == call
