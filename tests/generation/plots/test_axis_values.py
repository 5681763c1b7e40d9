"""Values are written as in AUTOMATIC1111: lists, quoted texts, ranges."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.errors import AppError
from webui.generation.plots.axis_values import (
    read_list,
    read_numbers,
    read_whole_numbers,
    write_list,
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1, 2,3", [1, 2, 3]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("5-3", [5, 4, 3]),
        ("1-10 (+3)", [1, 4, 7, 10]),
        ("10-1(-3)", [10, 7, 4, 1]),
        ("1-3 [5]", [1, 1.5, 2, 2.5, 3]),
        ("0.6-1.2 (+0.2)", [0.6, 0.8, 1.0, 1.2]),
        ("-2--1, .5", [-2, -1, 0.5]),
        ("", []),
    ],
)
def test_numbers(text: str, values: list[float]):
    assert read_numbers(text) == values


def test_whole_numbers_of_even_distance_are_rounded():
    assert read_whole_numbers("1-10 [4], 7") == [1, 4, 7, 10, 7]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a", "neither a number"),
        ("1-5 (-1)", "never arrives"),
        ("1-5 (0)", "never arrives"),
        ("1-1000000000", "more than 100"),
        ("1-5 [9999]", "2 to 100"),
        (",".join("1" * 101), "at most 100"),
        ("1e9", "neither"),
        ("nan", "neither"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, told: str):
    with pytest.raises(AppError, match=told):
        read_numbers(text)


def test_a_fraction_is_no_whole_number():
    with pytest.raises(AppError, match="1.5"):
        read_whole_numbers("1, 1.5")


def test_a_quoted_value_may_hold_commas():
    assert read_list('red, "green, dark", "say ""hi"""') == ["red", "green, dark", 'say "hi"']


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "P", "N"]), min_size=1)))
def test_a_list_survives_writing(values: list[str]):
    assert read_list(write_list(values[:100])) == values[:100]


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str):
    try:
        values = read_numbers(text)
    except AppError as refused:
        assert str(refused).endswith(".")
    else:
        assert all(math.isfinite(value) for value in values)
