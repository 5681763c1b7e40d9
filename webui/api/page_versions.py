"""What the page asks for by itself: whether anything has changed, and its texts in a language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel

Versions = Callable[[Sequence[Any]], list[Any]]
"""From the values that a page follows to the versions of all that it watches."""


class Page(BaseModel):
    """What one page has chosen to see."""

    keys: list[Any]


KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}
"""Of tables, whose addresses change with them."""


def routes(versions: Versions, languages: Mapping[str, Path]) -> APIRouter:
    """Return the routes ``/page-versions``, which each page asks once a second, and ``/languages``.

    ``languages`` are the tables of the page's texts by code.
    """
    router = APIRouter()

    @router.post("/page-versions", include_in_schema=False)
    def page_versions(page: Page) -> list[Any]:
        try:
            return versions(page.keys)
        except ValueError as error:
            raise HTTPException(422, "This page is of another version; reload it.") from error

    @router.get("/languages/{code}", include_in_schema=False)
    def language(code: str) -> FileResponse:
        if code not in languages:
            raise HTTPException(404, "There is no such language.")
        return FileResponse(languages[code], media_type="application/json", headers=KEPT)

    return router
