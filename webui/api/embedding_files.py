"""Embeddings to download, in any format that can be written: one file, or many in an archive."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from webui.embeddings.formats import SUFFIXES, Kind
from webui.embeddings.library import Card
from webui.errors import AppError
from webui.studio.studio import Studio

Wish = Annotated[Literal["safetensors", "a1111", "diffusers", "picture"], Query(alias="as")]
LEFT_OUT = "left-out.txt"
"""File in an archive that says what could not be packed."""


class Chosen(BaseModel):
    """What is to be packed into one archive."""

    model_config = ConfigDict(extra="forbid")

    cards: list[str] = Field(min_length=1, max_length=100_000)
    """Keys of cards."""
    kind: Literal["", "safetensors", "a1111", "diffusers", "picture"] = Field("", alias="as")
    """The format; "" is as the files are, with their sidecars."""


def routes(studio: Studio) -> APIRouter:
    """Return the routes; only files of cards can be asked for.

    ``/embedding-files?card=<key>&as=<format>`` is one file, ``/embedding-archives`` a zip of many.
    """
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

    @router.post("/embedding-archives", include_in_schema=False)
    def archive(chosen: Chosen) -> Response:
        with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
            path = Path(file.name)
        try:
            left = _pack(studio, chosen, path)
        except BaseException:
            path.unlink()
            raise
        return FileResponse(
            path,
            media_type="application/zip",
            filename="embeddings.zip",
            headers={"X-Left-Out": str(left)},
            background=BackgroundTask(path.unlink),
        )

    return router


def _pack(studio: Studio, chosen: Chosen, path: Path) -> int:
    """Write an archive of the chosen cards' files; return how many cards were left out of it."""
    reasons, names = [], set()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in chosen.cards:
            card = studio.library.card_at(key)
            try:
                if card is None:
                    raise AppError("The file is gone. It may have been moved or deleted meanwhile.")
                for name, data in list(_contents(studio, card, chosen.kind or None)):
                    if name not in names:  # a file of several embeddings, or one in two folders
                        archive.writestr(name, data)
                    names.add(name)
            except (AppError, OSError) as error:
                reasons.append(f"{card.name if card else Path(key).name}: {error}")
        if reasons:
            archive.writestr(LEFT_OUT, "\n".join(reasons).encode(errors="replace"))
    return len(reasons)


def _contents(studio: Studio, card: Card, kind: Kind | None) -> Iterator[tuple[str, bytes]]:
    """Yield the names inside an archive and the contents of a card's files."""
    folder = f"{card.folder}/" if card.folder else ""
    if kind is None:
        for file in studio.library.files(card):
            yield folder + file.name, file.read_bytes()
    else:
        data = studio.library.export(card.name, kind, card.path)
        yield folder + card.name + SUFFIXES[kind], data
