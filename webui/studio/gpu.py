"""The gate before the GPU: one holder at a time, first come, first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from webui.errors import Interrupted


class GpuGate:
    """Whoever computes on the device holds this, for a picture or for one training step.

    Also used on machines without a GPU: two computations at once on one CPU help nobody.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._owner: str | None = None

    @property
    def owner(self) -> str | None:
        """Who holds the gate now, in words for people, or None."""
        return self._owner

    @contextmanager
    def hold(
        self, who: str, given_up: Callable[[], bool] = lambda: False, poll_s: float = 0.2
    ) -> Iterator[None]:
        """Wait for a turn, hold the gate inside the ``with`` block, pass it on after it.

        ``given_up`` is asked every ``poll_s`` seconds while waiting; once it says True, the place
        in the line is left and Interrupted is raised.
        """
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                while self._owner is not None or self._line[0] is not ticket:
                    self._changed.wait(poll_s)
                    if given_up():
                        raise Interrupted("Stopped while waiting for its turn.")
                self._owner = who
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._owner = None
                self._changed.notify_all()
