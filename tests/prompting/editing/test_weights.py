"""Weights changed by keys: calls stay calls."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.prompting.editing.edit_parts import TEXTS, find
from webui.prompting.editing.spans import read_written
from webui.prompting.editing.weights import adjust_weight, set_weight


@pytest.mark.parametrize(
    ("text", "steps", "after"),
    [
        ("a ca|t", 1, "a (cat:1.1)"),
        ("a cat|, b", 1, "a (cat:1.1), b"),
        ("a (ca|t:1.1)", 1, "a (cat:1.2)"),
        ("a (ca|t:1.1)", -1, "a cat"),
        ("<paint|ing>", 1, "(<painting>:1.1)"),
        ("embedding:f|oo x", 1, "(embedding:foo:1.1) x"),
        ("<embedding:fo|o:1.2>", 1, "<embedding:foo:1.3>"),
        ("<lora:in|k:0.8>", 1, "<lora:ink:0.85>"),
        ("<lora:in|k>", -1, "<lora:ink:0.95>"),
        ("<lora:in|k:0.5:0.7>", 1, "<lora:ink:0.5:0.75>"),
        ("<lora:in|k:te=0.5:unet=1>", 1, "<lora:ink:te=0.5:unet=1.05>"),
        ("[ca|t]", 1, "cat"),
        ("[ca|t]", -1, "(cat:0.8)"),
        ("(ca|t)", 1, "(cat:1.2)"),
        ("(ca|t)", -1, "cat"),
        ("(a big ca|t and dog:1.3)", -1, "(a big cat and dog:1.2)"),
        ("[ca|t:dog:0.5]", 1, "[(cat:1.1):dog:0.5]"),
        ("[cat:dog:0.|5]", 1, None),
        ("([ca|t|dog]:1.2)", 1, "([cat|dog]:1.3)"),
        (r"\(ca|t\)", 1, r"(\(cat\):1.1)"),
        (r"c++ \(ne|w\), x", 1, r"(c++ \(new\):1.1), x"),
        ("a AN|D b", 1, None),
        ("x # co|mment", 1, None),
        ("|", 1, None),
        ("(ba|d:1.1)hands", -1, "(bad:1)hands"),
    ],
)
def test_keys_change_a_weight(text: str, steps: int, after: str | None):
    caret = text.index("|") if text != "([ca|t|dog]:1.2)" else 4
    plain = text[:caret] + text[caret + 1 :]
    edit = adjust_weight(plain, caret, caret, steps, find)
    assert (edit and edit.text) == after


@pytest.mark.parametrize(
    ("text", "chosen", "after"),
    [
        ("a red cat sat", "red cat ", "a (red cat:1.1) sat"),
        ("a (red cat:1.1) sat", "red cat", "a (red cat:1.2) sat"),
        ("a (red cat:1.1) sat", "(red cat:1.1)", "a (red cat:1.2) sat"),
        ("a (big red cat:1.2)", "cat", "a (big red (cat:1.1):1.2)"),
        ("a <painting> b", "paint", "a (<painting>:1.1) b"),
        ("cat, (dog) b", "cat, (d", None),
    ],
)
def test_keys_weigh_what_is_selected(text: str, chosen: str, after: str | None):
    start = text.index(chosen)
    edit = adjust_weight(text, start, start + len(chosen), 1, find)
    assert (edit and edit.text) == after


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 60), st.integers(0, 60), st.sampled_from([1, -1]))
def test_a_weight_changes_nothing_that_is_called(text, start, end, steps):
    start, end = sorted((min(start, len(text)), min(end, len(text))))
    edit = adjust_weight(text, start, end, steps, find)
    if edit is not None:
        before, after = read_written(text, find), read_written(edit.text, find)
        assert [call.name for call in before.calls] == [call.name for call in after.calls]
        assert len(before.loras) == len(after.loras)
        assert 0 <= edit.start <= edit.end <= len(edit.text)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a foo", "a (foo:0.5)"),
        ("a (foo:1.2), b", "a (foo:0.5), b"),
        ("<embedding:foo:1.2>", "(<embedding:foo>:0.5)"),
        ("embedding:foo", "(embedding:foo:0.5)"),
    ],
)
def test_a_weight_is_set(text: str, after: str):
    assert set_weight(text, find(text)[0], 0.5) == after
