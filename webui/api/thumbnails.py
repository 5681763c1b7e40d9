"""Small pictures of the embeddings for the cards, made at first use and kept by browsers."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Response

from webui.images import small_picture
from webui.studio.studio import Studio

log = logging.getLogger(__name__)

SIDE = 256
"""Longest side of a thumbnail in pixels."""


def routes(studio: Studio) -> APIRouter:
    """Return the route ``/thumbnails?card=<key>``; only pictures of cards can be asked for."""
    router = APIRouter()

    @router.get("/thumbnails", include_in_schema=False)
    def thumbnail(card: str) -> Response:
        found = studio.library.card_at(card)
        if found is None or found.preview is None:
            raise HTTPException(404, "This embedding has no image.")
        return picture_answer(found.preview)

    return router


def picture_answer(path: Path) -> Response:
    """Answer with a picture made small. Raises HTTPException where it cannot be read."""
    try:
        stat = path.stat()
        data = _small(path, stat.st_mtime_ns, stat.st_size)
    except Exception as error:  # the picture is a stranger's file; Pillow raises all sorts
        log.warning("No thumbnail of %s: %s", path.name, error)
        raise HTTPException(404, "The image cannot be read.") from error
    return Response(data, media_type="image/webp", headers={"Cache-Control": "max-age=86400"})


@lru_cache(maxsize=2000)
def _small(path: Path, modified_ns: int, size_bytes: int) -> bytes:
    """Return a picture as WebP of at most SIDE pixels; the times make changed files new."""
    return small_picture(path, SIDE)
