"""How many wait, where clients of A1111 ask for it to see whether the app is there."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from webui.studio.studio import Studio


def routes(studio: Studio) -> APIRouter:
    """Return the route ``/queue/status`` of the Gradio that A1111 uses."""
    router = APIRouter()

    @router.get("/queue/status", include_in_schema=False)
    def queue_status() -> dict[str, Any]:
        return {"msg": "estimation", "queue_size": len(studio.generating.running()), "rank": None}

    return router
