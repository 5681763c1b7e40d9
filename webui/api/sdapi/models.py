"""The model's memory given up and taken again: /unload-checkpoint and /reload-checkpoint."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from webui.api.sdapi.answers import waited
from webui.studio.studio import Studio


def add(router: APIRouter, studio: Studio) -> None:
    """Add the routes."""

    @router.post("/unload-checkpoint", summary="Free the model's memory until it is needed")
    async def unload_checkpoint() -> dict[str, Any]:
        await waited(studio.drawing.unload)
        return {}

    @router.post("/reload-checkpoint", summary="Load the model again now")
    async def reload_checkpoint() -> dict[str, Any]:
        await waited(studio.models.get)
        return {}
