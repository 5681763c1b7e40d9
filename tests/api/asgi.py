"""A small app of the interface that middleware stands before, and requests to it."""

from __future__ import annotations

from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.parts import in_a_loop


class Echo:
    """Answers with the bytes that it was sent, as the type and status it was told to."""

    def __init__(self, content: bytes | None = None, kind: str = "text/html", status: int = 200):
        self.content, self.kind, self.status = content, kind, status
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        body = await Request(scope, receive).body()
        content = body if self.content is None else self.content
        await Response(content, self.status, media_type=self.kind)(scope, receive, send)


def ask(
    app: ASGIApp,
    method: str = "GET",
    url: str = "/",
    base: str = "http://localhost:7860",
    **more: Any,
) -> httpx.Response:
    """Return the app's answer to one request."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(more.pop("client", "127.0.0.1"), 1))
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, url, **more)

    return in_a_loop(asked())
