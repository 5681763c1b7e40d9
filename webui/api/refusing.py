"""The answer to a request that is turned away before any route sees it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


def refuse(
    status: int, error: str, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an answer as ASGI application, its body ``{"error", "detail"}``."""
    return JSONResponse({"error": error, "detail": detail}, status, headers)
