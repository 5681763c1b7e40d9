"""What stands before the whole app: nothing of Gradio's or ours sees a request earlier."""

from __future__ import annotations

import mimetypes
import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.api.bodies import Bodies
from webui.api.login import Login
from webui.api.origins import Origins
from webui.api.refusing import refuse
from webui.settings import Settings

FILES = ("/gradio_api/file", "/file")
"""Gradio's route of files, up to the = before a file's path."""
OLD_FILES = ("/gradio_api/file/", "/file/")
UNFINISHED_S = 600
"""An upload to which nothing was added for so long was broken off."""
ELSEWHERE = ("/gradio_api/proxy", "/proxy")
"""Gradio's route that fetches from other machines."""
OWN = "img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'"
"""What pages may show; markup that slipped into one asks no other machine for anything."""
PICTURE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff")


def guarded(
    app: ASGIApp, settings: Settings, has_session: Callable[[HTTPConnection], bool]
) -> ASGIApp:
    """Return the app behind its guard, which must be the outermost middleware of all.

    ``has_session`` tells whether a request has the cookie of someone who is logged in.
    """
    inside: ASGIApp = Bodies(
        Files(app, settings), free_bytes=lambda: free_for_uploads(settings.uploads_dir)
    )
    if settings.auth:
        inside = Login(inside, settings.auth, has_session)
    return _Guard(Origins(inside, settings), settings.frame_ancestors)


def free_for_uploads(folder: Path) -> int:
    """Return the bytes that are free once broken-off uploads are gone.

    Gradio writes an upload directly into the folder and moves it deeper when it is whole.
    """
    limit = time.time() - UNFINISHED_S
    for path in folder.glob("*"):
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_mtime < limit:
                path.unlink()
    return shutil.disk_usage(folder.parent).free


class _Guard:
    """ASGI middleware that adds to every answer what browsers are to allow with it."""

    def __init__(self, app: ASGIApp, frame_ancestors: tuple[str, ...]) -> None:
        self._app = app
        frames = " ".join(frame_ancestors) or "'none'"
        self._policy = f"frame-ancestors {frames}; {OWN}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HTTP on; there are no web sockets here."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("Content-Security-Policy", self._policy)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, marked)


class Files:
    """ASGI middleware around Gradio's route of files: pictures are shown, the rest is saved.

    Whatever a file is called, a browser neither runs it nor takes it for a page.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._outputs, self._uploads = settings.outputs_dir, settings.uploads_dir

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 for what is no picture or lies elsewhere, or pass the request on."""
        route, _, named = scope["path"].partition("=")
        refused = route in ELSEWHERE or scope["path"].startswith(OLD_FILES)
        if refused or (route in FILES and not self._is_served(named)):
            detail = "There is no such image here."
            await refuse(403, "NotServed", detail)(scope, receive, send)
        else:
            await self._app(scope, receive, _as_picture(send) if route in FILES else send)

    def _is_served(self, named: str) -> bool:
        """Whether a file is a picture of ours, or something the page was sent or offers."""
        place = Path(os.path.abspath(named))
        if place.is_relative_to(self._uploads):
            return True
        kind = mimetypes.guess_type(place.name)[0]
        return place.is_relative_to(self._outputs) and kind in PICTURE_TYPES


def _as_picture(send: Send) -> Send:
    """Return a ``send`` that makes an answer a picture or a file to be saved."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.append("Content-Security-Policy", "sandbox; default-src 'none'")
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if message["status"] in (200, 206) and kind not in PICTURE_TYPES:
                headers["Content-Type"] = "application/octet-stream"
                headers["Content-Disposition"] = "attachment"
        await send(message)

    return sent
