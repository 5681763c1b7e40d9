"""The HTTP API that clients of AUTOMATIC1111's web UI speak, under /sdapi/v1."""

from __future__ import annotations

from fastapi import APIRouter

from webui.api.sdapi import (
    embeddings,
    extras,
    generation,
    listings,
    models,
    options,
    png_info,
    runs,
    training,
)
from webui.api.sdapi.answers import PREFIX, ApiRoute, add_refusals
from webui.api.sdapi.options import Options
from webui.api.sdapi.training import TrainingApi
from webui.studio.studio import Studio


def routes(studio: Studio) -> APIRouter:
    """Return all routes under /sdapi/v1."""
    router = APIRouter(prefix=PREFIX, route_class=ApiRoute)
    chosen = Options(studio)
    trained = TrainingApi(studio)
    generation.add(router, studio, chosen, trained)
    embeddings.add(router, studio)
    training.add(router, trained)
    runs.add(router, studio.training)
    png_info.add(router)
    extras.add(router)
    models.add(router, studio)
    options.add(router, chosen)
    listings.add(router, studio, chosen)
    add_refusals(router)
    return router
