"""Joins our routes to the app that Gradio serves, and the guard around everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, cast

from fastapi import FastAPI
from starlette.requests import HTTPConnection

from webui.api import (
    cards,
    documentation,
    embedding_files,
    model_cards,
    page_versions,
    prompt_edits,
    sdapi,
    thumbnails,
)
from webui.api.guard import guarded
from webui.api.page_versions import Versions
from webui.api.sdapi import queue_status
from webui.studio.studio import Studio

COOKIES = ("access-token", "access-token-unsecure")
"""Gradio's names of the cookie of a login, over HTTPS and without."""


def joined(
    studio: Studio, versions: Versions, languages: Mapping[str, Path]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the lifespan of the served app: all is joined before the first request is taken.

    ``versions`` tells the served page what has changed, ``languages`` are the tables of its texts.

    Gradio puts its own middleware around what it is given, so the guard is put around the whole
    stack once that is built; it is by the time the lifespan begins.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        add(app, studio)
        app.include_router(page_versions.routes(versions, languages))
        assert app.middleware_stack is not None
        sessions = _sessions(cast(Logins, app))
        app.middleware_stack = guarded(app.middleware_stack, studio.settings, sessions)
        yield

    return lifespan


def add(app: FastAPI, studio: Studio) -> None:
    """Add all routes."""
    api = sdapi.routes(studio)
    for router in (
        cards.routes(studio),
        thumbnails.routes(studio),
        embedding_files.routes(studio),
        model_cards.routes(studio),
        prompt_edits.routes(studio),
        queue_status.routes(studio),
        api,
        documentation.routes(api),
    ):
        app.include_router(router)


class Logins(Protocol):
    """What Gradio's application keeps about logins."""

    tokens: Mapping[str, str]
    """Who is logged in, by the value of the cookie."""
    cookie_id: str
    """Ends the cookie's name."""


def _sessions(page: Logins) -> Callable[[HTTPConnection], bool]:
    """Return whether a request has the cookie of someone logged in."""

    def has_session(request: HTTPConnection) -> bool:
        names = (f"{name}-{page.cookie_id}" for name in COOKIES)
        return any(page.tokens.get(request.cookies.get(name, "")) for name in names)

    return has_session
