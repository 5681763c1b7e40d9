"""Turns away what no client of ours sends: other sites' requests, and bodies too large."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 << 20
"""Largest body of a request to the API; the page's uploads have Gradio's own limit."""
API_PATH = "/sdapi/"


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._most = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 or 413, or pass the request on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["type"] == "http" and is_foreign(headers):
            detail = "Pages of other sites may not send requests to this app."
            await _refuse(403, "ForeignOrigin", detail)(scope, receive, send)
        elif not scope["path"].startswith(API_PATH):
            await self._app(scope, receive, send)
        elif int(headers.get("content-length", "0")) > self._most:
            await _refuse(413, "TooLarge", self._too_large())(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        """Return ``receive`` that raises HTTPException once a body has become too long."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, self._too_large())
            return message

        return counted

    def _too_large(self) -> str:
        return f"The request is larger than {self._most >> 20} MiB."


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that a page of another origin sends this request.

    Behind a proxy the address that the browser knows is in X-Forwarded-Host, which no page can
    set without being asked for permission first.
    """
    origin = headers.get("origin")
    if origin is None:
        return False
    own = {headers.get("host", ""), *headers.get("x-forwarded-host", "").split(",")}
    return urlsplit(origin).netloc.lower() not in {host.strip().lower() for host in own if host}


def _refuse(status: int, error: str, detail: str) -> JSONResponse:
    return JSONResponse({"error": error, "detail": detail}, status)
