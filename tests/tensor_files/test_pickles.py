"""A pickle is understood without being opened; what could grow in it is seen."""

from __future__ import annotations

import io
import pickle
import time
import zipfile
from collections import OrderedDict

import pytest

from tests.hostile import builders
from webui.tensor_files.pickles import DAMAGE, Inert, Known, TooMuch, read_pickle
from webui.tensor_files.torch_saved import KNOWN


def looked(pickled: bytes, most: int = 3000) -> tuple[object, list[tuple[str, str]]]:
    """What a pickle makes, and what it asked for."""
    asked: list[tuple[str, str]] = []

    def find(module: str, name: str) -> Known:
        asked.append((module, name))
        return KNOWN.get(f"{module} {name}", Known(Inert))

    return read_pickle(io.BytesIO(pickled), most, find), asked


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "value",
    [{"a": [1, 2.5, None, True, -3, 1 << 40], 3: ("x", (1, (2,)))}, OrderedDict(a=1), [(1, 2)] * 3,
     "text ä 猫", OrderedDict(), b"\x00bytes\xff", (), ((), [[]]), 0x1950A86A20F9469CFC6C],
)  # fmt: skip
def test_what_weights_are_made_of_is_read_as_pickle_reads_it(value: object, protocol: int):
    assert looked(pickle.dumps(value, protocol))[0] == value


def test_what_is_asked_for_is_told():
    assert ("collections", "OrderedDict") in looked(pickle.dumps(OrderedDict(), 4))[1]


@pytest.mark.parametrize(
    "make",
    [builders.nested_key, builders.doubling, builders.deep_tuples,
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
