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
    """Return the route ``/embedding-files/<name>?as=<format>``; only cards can be asked for."""
    router = APIRouter()

    @router.get("/embedding-files/{name:path}", include_in_schema=False)
    def embedding_file(name: str, kind: Wish = "safetensors") -> Response:
        card = studio.library.card(name)
        if card is None or not card.usable:
            raise HTTPException(404, f"There is no embedding called {name!r} that can be used.")
        try:
            data = studio.library.export(card.name, kind)
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
