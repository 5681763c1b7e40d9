"""Whether anything has changed that a page shows; each page asks once a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

Versions = Callable[[Sequence[Any]], list[Any]]
"""From the values that a page follows to the versions of all that it watches."""


class Page(BaseModel):
    """What one page has chosen to see."""

    keys: list[Any]


def routes(versions: Versions) -> APIRouter:
    """Return the route ``/page-versions``."""
    router = APIRouter()

    @router.post("/page-versions", include_in_schema=False)
    def page_versions(page: Page) -> list[Any]:
        try:
            return versions(page.keys)
        except ValueError as error:
            raise HTTPException(422, "This page is of another version; reload it.") from error

    return router
