"""Schedules, alternation and composition, as tables that can be read as their documentation."""

from __future__ import annotations

import pytest

from webui.prompting.schedule import DEEPEST, compose, stages

SCHEDULES = [
    # written                 with 10 steps: until step → text
    ("test", [(10, "test")]),
    ("a [b:3]", [(3, "a "), (10, "a b")]),
    ("a [b: 3]", [(3, "a "), (10, "a b")]),
    ("a [b:c:3]", [(3, "a b"), (10, "a c")]),
    ("a [b::3] d", [(3, "a b d"), (10, "a  d")]),
    ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
    ("a [b:c:0.25]", [(2, "a b"), (10, "a c")]),
    ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
    ("[b:c:0]", [(10, "c")]),
    ("[b:c:-1]", [(10, "c")]),
    ("[b:c:1.0]", [(10, "b")]),
    ("[b:c:99]", [(10, "b")]),
    ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
    ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
    ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
    ("[a:(b:1.2):0.5]", [(5, "a"), (10, "(b:1.2)")]),
    ("([a:b:4]:1.3)", [(4, "(a:1.3)"), (10, "(b:1.3)")]),
    ("[a:b:2][c:d:2]", [(2, "ac"), (10, "bd")]),
    ("[a:a:5]", [(10, "a")]),
    ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
    # no schedules
    ("a [unbalanced", [(10, "a [unbalanced")]),
    ("[a]", [(10, "[a]")]),
    ("[a:b]", [(10, "[a:b]")]),
    ("[a:b:c]", [(10, "[a:b:c]")]),
    ("[a:b:c:0.5]", [(10, "[a:b:c:0.5]")]),
    ("[a:b:1e999]", [(10, "[a:b:1e999]")]),
    ("[a:b:nan]", [(10, "[a:b:nan]")]),
    (r"\[a:b:3\]", [(10, r"\[a:b:3\]")]),
    (r"[a\:b:3]", [(3, ""), (10, r"a\:b")]),
    ("a | b, [c:3]", [(3, "a | b, "), (10, "a | b, c")]),
]

TURNS = [
    # written                 with 5 steps, step by step
    ("[a|b]", ["a", "b", "a", "b", "a"]),
    ("[a|b|c]", ["a", "b", "c", "a", "b"]),
    ("[fe|]male", ["female", "male", "female", "male", "female"]),
    ("[|a] x", [" x", "a x", " x", "a x", " x"]),
    ("[fe|||]male", ["female", "male", "male", "male", "female"]),
    ("[a|(b:1.1)]", ["a", "(b:1.1)", "a", "(b:1.1)", "a"]),
    ("[[a|b]:c:3]", ["a", "b", "a", "c", "c"]),
    ("[a|[b:c:2]]", ["a", "b", "a", "c", "a"]),
]

COMPOSITIONS = [
    # written                 parts and their weights
    ("a cat", [("a cat", 1)]),
    ("a cat AND a dog", [("a cat ", 1), (" a dog", 1)]),
    ("a cat :1.2 AND a dog : 0.5 ", [("a cat ", 1.2), (" a dog ", 0.5)]),
    ("a AND b:-1 AND c:.3", [("a ", 1), (" b", -1), (" c", 0.3)]),
    ("(a:1.2) AND b", [("(a:1.2) ", 1), (" b", 1)]),
    ("SAND AND LAND", [("SAND ", 1), (" LAND", 1)]),
    ("salt and pepper", [("salt and pepper", 1)]),
    ("a ratio of 16:9", [("a ratio of 16:9", 1)]),
    ("a AND b:" + "9" * 400, [("a ", 1), (" b:" + "9" * 400, 1)]),
    ("AND", [("", 1), ("", 1)]),
]


@pytest.mark.parametrize(("written", "expected"), SCHEDULES)
def test_schedules_switch_after_the_step_they_name(written: str, expected: list):
    assert [(stage.last_step, stage.text) for stage in stages(written, 10)] == expected


@pytest.mark.parametrize(("written", "expected"), TURNS)
def test_alternation_takes_turns_step_by_step(written: str, expected: list):
    found = stages(written, 5)
    texts = [next(s.text for s in found if step <= s.last_step) for step in range(1, 6)]
    assert texts == expected


@pytest.mark.parametrize(("written", "expected"), COMPOSITIONS)
def test_and_composes_parts_with_weights(written: str, expected: list):
    assert compose(written) == expected


def test_a_fraction_is_one_of_the_steps_at_hand():
    assert [stage.last_step for stage in stages("[a:b:0.5]", 30)] == [15, 30]


@pytest.mark.parametrize(
    ("number", "new", "old"),
    [
        ("20", [40], [20, 40]),  # of the 30 steps before: over long ago
        ("0.5", [40], [20, 40]),
        ("1.25", [10, 40], [1, 40]),
        ("45", [15, 40], [40]),
        ("2.0", [40], [2, 40]),
        ("3e-1", [40], [12, 40]),
    ],
)
def test_a_second_pass_counts_on_or_as_in_old_versions_begins_anew(
    number: str, new: list[int], old: list[int]
):
    text = f"[a:b:{number}]"
    assert [stage.last_step for stage in stages(text, 40, before=30)] == new
    assert [stage.last_step for stage in stages(text, 40, before=30, old=True)] == old


def test_the_inside_of_an_embeddings_call_is_not_looked_into():
    text = "[my[emb:1]:dog:4]"
    assert [stage.text for stage in stages(text, 10, [(1, 10)])] == ["my[emb:1]", "dog"]
    assert compose("salt AND pepper", [(0, 15)]) == [("salt AND pepper", 1)]
    assert compose("a AND embedding:200", [(6, 19)])[1] == (" embedding:200", 1)


def test_schedules_nested_too_deeply_are_text():
    deep = DEEPEST + 5
    found = stages("[" * deep + "a" + ":5]" * deep, 10)
    assert "[" in found[-1].text
