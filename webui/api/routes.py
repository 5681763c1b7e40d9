"""Joins our routes to the served app, behind the same login as the page."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from webui.api import cards, documentation, embedding_files, sdapi, thumbnails
from webui.api.login import signed_in
from webui.studio.studio import Studio


def add(app: FastAPI, studio: Studio) -> None:
    """Add all routes to the app that Gradio serves."""
    login = [Depends(signed_in(app, studio.settings.auth))]
    api = sdapi.routes(studio)
    app.include_router(cards.routes(studio), dependencies=login)
    app.include_router(thumbnails.routes(studio), dependencies=login)
    app.include_router(embedding_files.routes(studio), dependencies=login)
    app.include_router(api, dependencies=login)
    app.include_router(documentation.routes(api), dependencies=login)
