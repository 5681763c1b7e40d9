"""Joins our routes to the served app, behind the same login as the page."""

from __future__ import annotations

from fastapi import Depends, FastAPI, HTTPException, Request

from webui.api import embedding_files, thumbnails
from webui.studio.studio import Studio


def add(app: FastAPI, studio: Studio) -> None:
    """Add all routes to the app that Gradio serves."""
    for part in (thumbnails, embedding_files):
        app.include_router(part.routes(studio), dependencies=[Depends(signed_in(app))])


def signed_in(app: FastAPI) -> object:
    """Return a dependency that lets only those through whom the page lets through."""

    def check(request: Request) -> None:
        if app.auth is None:
            return
        for cookie in ("access-token", "access-token-unsecure"):
            if app.tokens.get(request.cookies.get(f"{cookie}-{app.cookie_id}", "")):
                return
        raise HTTPException(401, "Log in first.")

    return check
