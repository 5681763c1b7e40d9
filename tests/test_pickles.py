"""A pickle is understood without being opened; what could grow in it is seen."""

from __future__ import annotations

import io
import pickle
import time
import zipfile
from collections import OrderedDict

import pytest

from tests.hostile import builders
from webui.pickles import DAMAGE, TooMuch, look_through


def looked(pickled: bytes, most: int = 3000) -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []
    look_through(io.BytesIO(pickled), most, lambda *names: asked.append(names))
    return asked


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "value",
    [{"a": [1, 2.5, None, True], 3: ("x", (1, (2,)))}, OrderedDict(a=1), [(1, 2)] * 3, "text",
     {"s": {"b", "c"}}, OrderedDict()],
)  # fmt: skip
def test_what_weights_are_made_of_passes(value: object, protocol: int):
    looked(pickle.dumps(value, protocol))


def test_what_is_asked_for_is_told():
    assert ("collections", "OrderedDict") in looked(pickle.dumps(OrderedDict(), 4))


@pytest.mark.parametrize(
    "make",
    [builders.nested_key, builders.doubling, builders.large_array, builders.deep_tuples,
     builders.deep_lists, builders.set_of_tuples, builders.ordered_key, builders.many_operations],
)  # fmt: skip
def test_what_could_grow_is_refused_at_once(make):
    pickled = zipfile.ZipFile(io.BytesIO(make())).read("archive/data.pkl")
    begun = time.monotonic()
    with pytest.raises(TooMuch):
        looked(pickled, 10_000)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("key", [(1, 2), frozenset([1]), 2.5, None, b"x"])
def test_keys_are_text_or_whole_numbers(key: object):
    with pytest.raises(TooMuch):
        looked(pickle.dumps({key: 1}, 4))


@pytest.mark.parametrize("pickled", [b"", b"\x80", b"}s.", b"\x80\x02K", b"h\x07.", b"\x86."])
def test_what_is_no_whole_pickle_is_damage(pickled: bytes):
    with pytest.raises(DAMAGE):
        looked(pickled)
