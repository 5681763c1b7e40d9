"""Embeddings to download, in any format that can be written."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Response

from webui.embeddings.formats import SUFFIXES
from webui.errors import AppError
from webui.studio.studio import Studio

Wish = Annotated[Literal["safetensors", "a1111", "diffusers", "picture"], Query(alias="as")]


def routes(studio: Studio) -> APIRouter:
    """Return the route ``/embedding-files?card=<key>&as=<format>``; only cards can be asked for."""
    router = APIRouter()

    @router.get("/embedding-files", include_in_schema=False)
    def embedding_file(key: Annotated[str, Query(alias="card")], kind: Wish) -> Response:
        card = studio.library.card_at(key)
        if card is None or card.problem:
            raise HTTPException(404, "This embedding is gone or cannot be read.")
        try:
            data = studio.library.export(card.name, kind, card.path)
        except AppError as error:
            raise HTTPException(409, str(error)) from error
        file_name = quote(card.name + SUFFIXES[kind], safe="")
        return Response(
            data,
            media_type="application/octet-stream",
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{file_name}",
                "X-Content-Type-Options": "nosniff",
            },
        )

    return router
