"""/docs: what the API has, with examples to try, drawn from openapi.json without any other site."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.openapi.utils import get_openapi
from starlette.responses import FileResponse, JSONResponse

from webui import __version__

ASSETS = Path(__file__).resolve().parent / "assets"
FILES = ("docs.css", "docs.js")
HEADERS = {"Content-Security-Policy": "default-src 'self'; img-src 'self' data:"}
ABOUT = (
    "The API that clients of AUTOMATIC1111's web UI speak. Wrong input is answered with 422 and "
    "the name of the field. With --auth, send the same user and password as HTTP Basic."
)


def routes(api: APIRouter) -> APIRouter:
    """Return the routes of the page about ``api``, and its description as OpenAPI."""
    router = APIRouter(include_in_schema=False)

    @cache
    def described() -> dict[str, Any]:
        return get_openapi(
            title="Embeddings WebUI", version=__version__, description=ABOUT, routes=api.routes
        )

    @router.get("/openapi.json")
    def openapi() -> JSONResponse:
        return JSONResponse(described())

    @router.get("/docs")
    def docs() -> FileResponse:
        return FileResponse(ASSETS / "docs.html", headers=HEADERS)

    @router.get("/docs/{name}")
    def asset(name: str) -> FileResponse:
        if name not in FILES:
            raise HTTPException(404, "There is no such page.")
        return FileResponse(ASSETS / name)

    return router
