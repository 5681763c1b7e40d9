"""JSON is measured before it is parsed."""

from __future__ import annotations

import json
import time

import pytest

from webui.plain_json import TooMuch, bounded_json, check


def test_what_is_small_is_parsed():
    assert bounded_json(b'{"a": [1, "b"]}', 10) == {"a": [1, "b"]}
    with pytest.raises(ValueError):
        bounded_json(b'{"a": ', 10)


@pytest.mark.parametrize("data", [b"[" * 50, b"{}," * 200, b'"a",' * 200, b'{"a":' * 60])
def test_too_many_values_or_too_deep_is_too_much(data: bytes):
    with pytest.raises(TooMuch):
        bounded_json(data, 100)


@pytest.mark.parametrize(
    "content",
    ["(((((((" * 1000, ",,,,{[" * 20_000, '\\"' * 10_000, "\\" * 10_000],
    ids=["brackets", "structure", "quotes", "backslashes"],
)
def test_what_stands_in_a_text_is_not_counted(content: str):
    check(json.dumps({"prompt": content}).encode(), 100)


@pytest.mark.parametrize("body", [b'"', b'"\\', b"a=b&c=d", b"\xff\xfe", b'{"a":"' + b"\\" * 999])
def test_what_is_no_json_passes_the_check(body: bytes):
    check(body, 100)


def test_a_body_with_pictures_is_looked_through_quickly():
    body = json.dumps({"image": "A" * (40 << 20)}).encode()
    begun = time.monotonic()
    check(body, 100)
    assert time.monotonic() - begun < 3
