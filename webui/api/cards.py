"""What the page knows of the embeddings, fetched by its script."""

from __future__ import annotations

import json

from fastapi import APIRouter
from fastapi.responses import Response

from webui.studio.card_feed import CardFeed
from webui.studio.studio import Studio

FRESH = {"Cache-Control": "no-store"}


def routes(studio: Studio) -> APIRouter:
    """Return the route ``/cards``, which tells what changed since a revision."""
    router, feed = APIRouter(), CardFeed(studio)

    @router.get("/cards", include_in_schema=False)
    def cards(run: str = "", revision: int = 0) -> Response:
        # Paths may hold bytes that are no UTF-8; written in ASCII, they come back as they were.
        content = json.dumps(feed.since(run, revision))
        return Response(content, media_type="application/json", headers=FRESH)

    return router
