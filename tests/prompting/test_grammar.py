"""The attention grammar, as a table that can be read as its documentation."""

from __future__ import annotations

import pytest

from webui.prompting.grammar import HEAVIEST, Atom, plain, weigh

BREAK = None

ATTENTION = [
    # written                 understood as
    ("a cat", [("a cat", 1)]),
    ("", []),
    ("(a)", [("a", 1.1)]),
    ("((a))", [("a", 1.21)]),
    ("[a]", [("a", 1 / 1.1)]),
    ("[[a]]", [("a", 1 / 1.21)]),
    ("(a:1.2)", [("a", 1.2)]),
    ("( a : 1.2 )", [(" a ", 1.2)]),
    ("(a:+1.2)", [("a", 1.2)]),
    ("(a:.5)", [("a", 0.5)]),
    ("(a:0)", [("a", 0)]),
    ("(a:-1)", [("a", -1)]),
    ("((a:1.2))", [("a", 1.32)]),
    ("([a]:1.5)", [("a", 1.5 / 1.1)]),
    ("((a:2):3)", [("a", 6)]),
    ("(a (b:2) c:3)", [("a ", 3), ("b", 6), (" c", 3)]),
    ("(a:b:1.2)", [("a:b", 1.2)]),
    ("[a:1.2]", [("a:1.2", 1 / 1.1)]),
    ("(a)(b)", [("ab", 1.1)]),
    ("(a) (b)", [("a", 1.1), (" ", 1), ("b", 1.1)]),
    # brackets that do not match
    ("(a", [("a", 1.1)]),
    ("x (a [b", [("x ", 1), ("a ", 1.1), ("b", 1)]),
    ("a)", [("a)", 1)]),
    ("a:1.2)", [("a:1.2)", 1)]),
    ("([a)]", [("a", 1)]),
    ("()", []),
    # brackets that are text
    (r"a \(b\)", [("a (b)", 1)]),
    (r"a \[b\]", [("a [b]", 1)]),
    (r"(a\\)", [("a\\", 1.1)]),
    (r"(\(a\):1.3)", [("(a)", 1.3)]),
    # numbers that are none
    ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
    ("(a:)", [("a:", 1.1)]),
    ("(a:.)", [("a:.", 1.1)]),
    ("(a:1e999)", [("a:1e999", 1.1)]),
    ("(a:nan)", [("a:nan", 1.1)]),
    ("(a:inf)", [("a:inf", 1.1)]),
    ("(a:" + "9" * 400 + ")", [("a:" + "9" * 400, 1.1)]),
    # BREAK
    ("a BREAK b", [("a", 1), BREAK, ("b", 1)]),
    ("a\n  BREAK\n  b", [("a", 1), BREAK, ("b", 1)]),
    ("BREAK a", [BREAK, ("a", 1)]),
    ("a BREAK", [("a", 1), BREAK]),
    ("a BREAK BREAK b", [("a", 1), BREAK, BREAK, ("b", 1)]),
    ("(a BREAK b:1.2)", [("a", 1.2), BREAK, ("b", 1.2)]),
    ("BREAKfast and break", [("BREAKfast and break", 1)]),
]


def shown(segments) -> list:
    return [
        BREAK if segment.content is None else (segment.content, pytest.approx(segment.weight))
        for segment in segments
    ]


@pytest.mark.parametrize(("written", "understood"), ATTENTION, ids=lambda value: str(value)[:30])
def test_attention_is_read_as_documented(written: str, understood: list):
    assert understood == shown(weigh(written).segments)


def test_an_atom_takes_the_weight_of_the_brackets_round_it():
    call = object()
    text = "a (very <name> b:1.5)"

    segments = weigh(text, [Atom(8, 14, call)]).segments

    assert [(s.content, s.weight) for s in segments] == [
        ("a ", 1), ("very ", 1.5), (call, 1.5), (" b", 1.5),
    ]  # fmt: skip


def test_the_number_of_a_bracket_may_follow_an_atom():
    call = object()
    assert [(s.content, s.weight) for s in weigh("(NAME:1.2)", [Atom(1, 5, call)]).segments] == [
        (call, 1.2)
    ]


def test_brackets_and_colons_inside_an_atom_are_not_looked_into():
    call = object()
    text = "(my(emb:2)"

    segments = weigh(text, [Atom(1, 10, call)]).segments

    assert [s.content for s in segments] == [call]


def test_an_atom_with_a_weight_of_its_own_multiplies():
    call = object()
    (segment,) = weigh("(X:2)", [Atom(1, 2, call, 1.5)]).segments
    assert segment.weight == 3


def test_an_atom_that_is_text_joins_the_words_round_it():
    (segment,) = weigh("a X b", [Atom(2, 3, "y")]).segments
    assert segment.content == "a y b"


def test_brackets_that_do_not_match_are_counted():
    found = weigh("(a [b ) c) ]) (")
    assert (found.unclosed, found.unopened) == (1, 2)


def test_products_of_weights_stay_numbers():
    (segment,) = weigh("(" * 60 + "a" + ":99999999)" * 60).segments
    assert segment.weight == HEAVIEST


def test_very_deep_brackets_end_in_a_weight_and_in_time():
    (segment,) = weigh("(" * 50_000 + "a" + ")" * 50_000).segments
    assert segment.weight == pytest.approx(1.1**64)


def test_without_attention_brackets_and_break_are_words():
    call = object()
    segments = plain(r"(a:1.2) BREAK \( X", [Atom(17, 18, call)]).segments
    assert [(s.content, s.weight) for s in segments] == [(r"(a:1.2) BREAK \( ", 1), (call, 1)]
