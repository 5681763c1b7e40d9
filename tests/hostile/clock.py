"""How long the app takes, whatever else the machine does meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

IDLE_TIMES = 10
"""The clock on the wall may take so many times as long as the processor."""


@contextmanager
def within(longest_s: float) -> Iterator[None]:
    """Let the ``with`` block take so many seconds of processor time, its readers' included."""
    begun, spent_s = time.monotonic(), processor_s()
    yield
    assert processor_s() - spent_s < longest_s
    assert time.monotonic() - begun < IDLE_TIMES * longest_s


def processor_s() -> float:
    """Return the processor time of this process and of all that it has started, in seconds."""
    spent_s = sum(os.times()[:4])
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            spent_s += sum(child.cpu_times()[:2])
    return spent_s
