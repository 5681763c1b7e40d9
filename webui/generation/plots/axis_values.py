"""The values of an axis as people write them: lists with commas, quoted texts, ranges."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import TypeVar

from webui.errors import AppError

T = TypeVar("T")

MAX_VALUES = 100
"""Most values of one axis."""
_NUMBER = r"[+-]?(?:\d{1,15}(?:\.\d{0,6})?|\.\d{1,6})"
_RANGE = re.compile(
    rf"({_NUMBER})\s*-\s*({_NUMBER})"
    rf"(?:\s*\(\s*({_NUMBER})\s*\)|\s*\[\s*(\d{{1,4}})\s*\])?"
)


def read_list(text: str, keep_empty: bool = False) -> list[str]:
    """Return the values of a list with commas; a value in double quotes may hold commas itself.

    Empty values are left out unless they are to be kept. Raises AppError where there are too many.
    """
    rows = csv.reader(io.StringIO(text.replace("\x00", "")), skipinitialspace=True)
    try:
        values = [value.strip() for row in rows for value in row]
    except csv.Error as error:
        raise AppError("The values cannot be read; check the quotation marks.") from error
    return _not_too_many([value for value in values if value or keep_empty])


def write_list(values: Iterable[str]) -> str:
    """Return values as a list that ``read_list`` takes apart again."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return re.sub(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", ", ", line.getvalue())


def read_numbers(text: str) -> list[float]:
    """Return the numbers of a list of numbers and ranges.

    ``1-5`` goes in steps of one, ``1-10 (+3)`` in steps of 3, ``1-3 [5]`` makes five of even
    distance. Raises AppError naming what is no number.
    """
    values: list[Decimal] = []
    for entry in read_list(text):
        if match := _RANGE.fullmatch(entry):
            values += _range(entry, *match.groups())
        elif re.fullmatch(_NUMBER, entry):
            values.append(Decimal(entry))
        else:
            raise AppError(f"“{entry[:60]}” is neither a number nor a range such as 1-5.")
        _not_too_many(values)
    return [float(value) for value in values]


def read_whole_numbers(text: str) -> list[int]:
    """Return the whole numbers of a list of numbers and ranges; evenly spaced ones are cut off.

    Raises AppError naming what is no whole number.
    """
    values: list[int] = []
    for entry in read_list(text):
        numbers = read_numbers(entry)
        if "[" in entry:
            numbers = [int(number) for number in numbers]
        for number in numbers:
            if number != int(number):
                raise AppError(f"“{number:g}” is no whole number.")
        values += map(int, numbers)
    return _not_too_many(values)


def _range(entry: str, first: str, last: str, step: str | None, count: str | None) -> list[Decimal]:
    start, end = Decimal(first), Decimal(last)
    if count is not None:
        parts = int(count)
        if not 2 <= parts <= MAX_VALUES:
            raise AppError(f"“{entry}” must ask for 2 to {MAX_VALUES} values.")
        return [start + (end - start) * part / (parts - 1) for part in range(parts)]
    stride = Decimal(step) if step else Decimal(1 if end >= start else -1)
    if stride == 0 or (end - start) * stride < 0:
        raise AppError(f"“{entry}” never arrives at {last}; its step leads elsewhere.")
    steps = int((end - start) / stride)
    if steps >= MAX_VALUES:
        raise AppError(f"“{entry}” has more than {MAX_VALUES} values.")
    return [start + stride * number for number in range(steps + 1)]


def _not_too_many(values: list[T]) -> list[T]:
    if len(values) > MAX_VALUES:
        raise AppError(f"There are {len(values)} values; an axis takes at most {MAX_VALUES}.")
    return values
