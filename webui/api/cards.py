"""What the page knows of the embeddings, fetched by its script."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from webui.studio.card_feed import CardFeed
from webui.studio.studio import Studio


def routes(studio: Studio) -> APIRouter:
    """Return the route ``/cards``, which tells what changed since a revision."""
    router, feed = APIRouter(), CardFeed(studio)

    @router.get("/cards", include_in_schema=False)
    def cards(run: str = "", revision: int = 0) -> JSONResponse:
        return JSONResponse(feed.since(run, revision), headers={"Cache-Control": "no-store"})

    return router
