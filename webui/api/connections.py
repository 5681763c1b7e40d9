"""Closes connections that begin a request and never end it."""

from __future__ import annotations

import asyncio

from uvicorn import Server
from uvicorn.protocols.http.h11_impl import H11Protocol

LONGEST_HEAD_S = 20.0
"""So long a request's first line and headers may take to arrive."""


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP, with a limit of time until a request is there."""

    _deadline: asyncio.TimerHandle | None = None
    longest_head_s = LONGEST_HEAD_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what has come; wait on unless it completes the head of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Run the clock exactly while no request is being answered."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        elif not answering and self._deadline is None:
            self._deadline = self.loop.call_later(self.longest_head_s, self._give_up)

    def _give_up(self) -> None:
        self._deadline = None
        if (self.cycle is None or self.cycle.response_complete) and self.transport is not None:
            self.transport.close()


def be_patient(server: Server) -> None:
    """Let a running server take new connections with PatientProtocol."""
    server.config.http_protocol_class = PatientProtocol
