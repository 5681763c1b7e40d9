"""JSON from strangers: how much of it there is, and how deep, is known before it is parsed."""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 40
_TOKEN = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'\\.|"', re.DOTALL)


class TooMuch(ValueError):
    """JSON with too many values, or nested too deep."""


def check(data: bytes, most_items: int, most_escapes: int = 2_000_000) -> None:
    """Raise TooMuch for JSON with more strings, commas and brackets than ``most_items``.

    Escaped characters within strings have a limit of their own. Nothing is parsed, and what is no
    JSON passes.
    """
    openings = data.count(b"[") + data.count(b"{")
    if len(data) <= min(most_items, most_escapes) and openings <= DEEPEST:
        return  # there cannot be more than that
    place = depth = items = escapes = 0
    while token := _TOKEN.search(data, place):
        mark, place = token[0], token.end()
        if mark == b'"':
            while (part := _IN_STRING.search(data, place)) and part[0] != b'"':
                place, escapes = part.end(), escapes + 1
                if escapes > most_escapes:
                    raise TooMuch("There are too many escaped characters.")
            if part is None:
                return
            place = part.end()
        items += 1
        depth += (mark in b"[{") - (mark in b"]}")
        if items > most_items or depth > DEEPEST:
            raise TooMuch("There are too many values, or they are nested too deep.")


def bounded_json(data: bytes, most_items: int) -> Any:
    """Return the value of JSON as UTF-8. Raises TooMuch, or another ValueError for what is none."""
    check(data, most_items)
    try:
        return json.loads(data)
    except RecursionError as fault:
        raise TooMuch("It is nested too deep.") from fault
