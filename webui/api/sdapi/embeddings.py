"""The embeddings there are, and new ones to be trained."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from webui.api.sdapi.answers import REFUSED, Question, Shape
from webui.embeddings.embedding import Embedding
from webui.embeddings.library import Card
from webui.errors import BadField
from webui.studio.studio import Studio
from webui.training.captions import initializer_tokens
from webui.training.request import name_problem

MOST_VECTORS = 75


class EmbeddingItem(Shape):
    """What is known of an embedding."""

    step: int | None
    sd_checkpoint: str | None
    """Hash of the checkpoint it was trained on."""
    sd_checkpoint_name: str | None
    shape: int
    """Width of its vectors; the first text encoder's where there are two."""
    vectors: int
    reason: str | None = None
    """Why it cannot be used with the loaded model."""


class Embeddings(Shape):
    """The embeddings that the loaded model can use, and the others."""

    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem]


class CreateRequest(Question):
    """A new embedding made of the words it starts from."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "my-mug", "num_vectors_per_token": 2, "init_text": "mug"}]
        },
    )

    name: str
    num_vectors_per_token: int = Field(1, ge=1, le=MOST_VECTORS)
    overwrite_old: bool = False
    init_text: str = "*"
    """Its tokens' vectors are taken in turn."""


class Created(Shape):
    """What was made."""

    info: str = Field(examples=["create embedding filename: embeddings/my-mug.safetensors"])


def add(router: APIRouter, studio: Studio) -> None:
    """Add the routes."""

    @router.get("/embeddings", summary="List embeddings")
    def embeddings() -> Embeddings:
        loaded: dict[str, EmbeddingItem] = {}
        skipped: dict[str, EmbeddingItem] = {}
        for card in studio.library.snapshot().cards:
            reason = studio.why_unusable(card)
            place = skipped if reason else loaded
            place.setdefault(card.name, _item(card, reason))
        return Embeddings(loaded=loaded, skipped=skipped)

    @router.post("/refresh-embeddings", summary="Look at the folders of embeddings now")
    def refresh_embeddings() -> dict[str, Any]:
        studio.library.refresh()
        return {}

    @router.post("/create/embedding", responses=REFUSED, summary="Make an embedding of words")
    def create_embedding(body: CreateRequest) -> Created:
        path = _create(studio, body)
        return Created(info=f"create embedding filename: {path}")


def _item(card: Card, reason: str | None) -> EmbeddingItem:
    return EmbeddingItem(
        step=card.step,
        sd_checkpoint=card.trained_on_hash,
        sd_checkpoint_name=card.trained_on,
        shape=next(iter(card.widths.values()), 0),
        vectors=card.vectors,
        reason=reason,
    )


def _create(studio: Studio, body: CreateRequest) -> str:
    """Install an embedding of the words' own vectors and return its file."""
    from webui.training.setup import words_as_vectors

    model = studio.models.get()
    wrong = name_problem(body.name, model.tokenizer, studio.library.names(), body.overwrite_old)
    if wrong:
        raise BadField("name", wrong)
    try:
        ids = initializer_tokens(model.tokenizer, body.init_text)
    except BadField as error:
        raise BadField("init_text", str(error)) from error
    vectors = words_as_vectors(model, ids, body.num_vectors_per_token)
    embedding = Embedding(
        name=body.name,
        vectors={key: rows.cpu() for key, rows in vectors.items()},
        step=0,
        trained_on=model.name,
        trained_on_hash=model.short_hash,
        inner_name=body.name,
    )
    metadata = {"initializer": body.init_text}
    return str(studio.library.install(embedding, metadata, body.overwrite_old))
