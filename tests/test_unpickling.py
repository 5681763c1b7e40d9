"""Each reader of torch's files meets only the types that it named itself."""

from __future__ import annotations

import io
import pickle
import threading
from fractions import Fraction
from typing import Any

import pytest
import torch

from webui.unpickling import load_weights_only


class Inert:
    def __init__(self, *_: Any) -> None:
        pass


class Slow(io.BytesIO):
    """A file that stops at its first reading until it is let go on."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reading, self.goes_on = threading.Event(), threading.Event()

    def read(self, *sizes: Any) -> bytes:
        self.reading.set()
        assert self.goes_on.wait(60)
        return super().read(*sizes)


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


ASKING = saved({"rows": torch.ones(2, 3), "extra": Fraction(1, 2)})
ALLOWED = {"fractions.Fraction": Inert}


def test_a_stand_in_takes_the_place_of_what_a_file_asks_for():
    content = load_weights_only(io.BytesIO(ASKING), ALLOWED)
    assert torch.equal(content["rows"], torch.ones(2, 3))
    assert isinstance(content["extra"], Inert)
    with pytest.raises(pickle.UnpicklingError, match="Fraction"):
        load_weights_only(io.BytesIO(ASKING))


def test_one_reader_does_not_see_the_stand_ins_of_another():
    slow, results = Slow(ASKING), dict[str, object]()

    def read(name: str, source: io.BytesIO, allowed: dict[str, type]) -> None:
        try:
            results[name] = load_weights_only(source, allowed)
        except pickle.UnpicklingError as error:
            results[name] = error

    threads = [
        threading.Thread(target=read, args=("allowed", slow, ALLOWED)),
        threading.Thread(target=read, args=("plain", io.BytesIO(ASKING), {})),
    ]
    threads[0].start()
    assert slow.reading.wait(60)
    threads[1].start()
    threads[1].join(0.3)  # it may not go on meanwhile; if it did, it would have read the file
    slow.goes_on.set()
    for thread in threads:
        thread.join(60)
    assert isinstance(results["plain"], pickle.UnpicklingError)
    assert isinstance(results["allowed"], dict)
