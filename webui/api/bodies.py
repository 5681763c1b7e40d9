"""How much a request may send, how deep it may be nested, and how long it may take to come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui import plain_json
from webui.api.refusing import refuse

T = TypeVar("T")
MIB = 1 << 20
UPLOAD_PATHS = ("/gradio_api/upload", "/gradio_api/upload/")
MOST_UPLOADED_BYTES = 512 * MIB
"""All files of one upload; Gradio has a limit for each of them besides."""
MOST_BYTES = 4 * MIB
"""A usual request: text and numbers."""
MOST_PICTURE_BYTES = 64 * MIB
"""A request with pictures in it."""
PICTURE_PATHS = tuple(
    f"/sdapi/v1/{name}"
    for name in ("png-info", "train/embedding", "train/suggest", "extra-single-image",
                 "extra-batch-images", "img2img", "interrogate")
)  # fmt: skip
MOST_LOGIN_BYTES = 4096
KEPT_FREE_BYTES = 16 * MIB
"""So much of the disk uploads leave free."""
MOST_ITEMS = 100_000
"""Strings, commas and brackets in the JSON of a request."""
MOST_ESCAPES = 1_000_000
"""Escaped characters in it; twice as many with pictures, whose base64 some write with ``\\/``."""
LONGEST_PAUSE_S = 20.0
"""So long nothing may arrive while a body is expected."""
LONGEST_BODY_S = 300.0
"""So long a body other than an upload may take to arrive."""


class BodyRefused(Exception):
    """A body that is too large, too deep or too slow; ``status`` is the HTTP status."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail = status, error, detail


class Bodies:
    """ASGI middleware that reads a request's body within limits before the app sees it.

    Uploads are passed on piece by piece; everything else is read whole and looked through.
    """

    def __init__(
        self,
        app: ASGIApp,
        pause_s: float = LONGEST_PAUSE_S,
        free_bytes: Callable[[], int] = lambda: 1 << 60,
    ) -> None:
        """``free_bytes`` tells how much room there is where uploads are put."""
        self._app = app
        self._pause_s = pause_s
        self._free_bytes = free_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 408 or 413, or pass the request on."""
        most = most_bytes(scope["path"])
        told = Headers(scope=scope).get("content-length", "0")
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if not told.isdecimal() or len(told) > 15 or int(told) > most:
                raise _too_large(most)
            if scope["path"] in UPLOAD_PATHS:
                if await asyncio.to_thread(self._free_bytes) < int(told) + KEPT_FREE_BYTES:
                    raise BodyRefused(507, "DiskFull", "The disk is full. Make room and try again.")
                await self._app(scope, self._counted(receive, most), noted)
                return
            body = await self._in_time(self._whole(receive, most), LONGEST_BODY_S)
            if body is None:
                return  # the client went away
            if body:
                await asyncio.to_thread(_check, body, most > MOST_BYTES)
            await self._app(scope, _replayed(body, receive), noted)
        except BodyRefused as refused:
            if not answered:
                await refuse(refused.status, refused.error, refused.detail)(scope, receive, send)

    async def _in_time(self, coming: Awaitable[T], patience_s: float) -> T:
        try:
            return await asyncio.wait_for(coming, patience_s)
        except asyncio.TimeoutError:
            raise BodyRefused(408, "TooSlow", "The rest of the request did not come.") from None

    async def _whole(self, receive: Receive, most: int) -> bytes | None:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._in_time(receive(), self._pause_s)
            if message["type"] != "http.request":
                return None
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > most:
                raise _too_large(most)
            if not message.get("more_body"):
                return b"".join(pieces)

    def _counted(self, receive: Receive, most: int) -> Receive:
        size, whole = 0, False

        async def counted() -> Message:
            nonlocal size, whole
            if whole:
                return await receive()
            message = await self._in_time(receive(), self._pause_s)
            size += len(message.get("body", b""))
            whole = not message.get("more_body")
            if size > most:
                raise _too_large(most)
            return message

        return counted


def most_bytes(path: str) -> int:
    """Return how many bytes a request to a path may send."""
    if path in UPLOAD_PATHS:
        return MOST_UPLOADED_BYTES
    if path.rstrip("/") == "/login":
        return MOST_LOGIN_BYTES
    return MOST_PICTURE_BYTES if path.rstrip("/") in PICTURE_PATHS else MOST_BYTES


def _check(body: bytes, with_pictures: bool) -> None:
    """Raise BodyRefused for JSON with too many items or nested too deep."""
    try:
        plain_json.check(body, MOST_ITEMS, MOST_ESCAPES * (2 if with_pictures else 1))
    except plain_json.TooMuch as found:
        raise BodyRefused(413, "TooLarge", f"The request is too much: {found}") from None


def _too_large(most: int) -> BodyRefused:
    size = f"{most >> 20} MiB" if most >= MIB else f"{most >> 10} KiB"
    return BodyRefused(413, "TooLarge", f"The request is larger than {size}.")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body once, and then what comes after it."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
