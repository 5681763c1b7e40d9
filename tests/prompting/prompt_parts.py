"""Small real parts for prompts: random text encoders of every family and a shelf of embeddings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from webui.embeddings.cards import Card
from webui.embeddings.embedding import Embedding
from webui.models.model import Model, TextEncoder

EOS = 49407


@dataclass(eq=False)
class Shelf:
    """A collection of embeddings kept in memory."""

    version: int = 0
    embeddings: dict[str, Embedding] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)

    def put(
        self,
        name: str,
        vectors: dict[str, torch.Tensor],
        kind: str = "",
        initializer: str | None = None,
        **card,
    ) -> Embedding:
        embedding = Embedding(name, vectors, kind=kind, initializer=initializer)
        self.embeddings[name.lower()] = embedding
        known = {"folder": "", "short_hash": "0123456789ab", **card}
        self.cards[name.lower()] = Card(
            name,
            Path(name),
            Path(),
            widths=embedding.widths,
            vectors=len(embedding),
            content_hash=embedding.content_hash,
            kind=kind,
            **known,
        )
        self.version += 1
        return embedding

    def change_card(self, name: str, **fields) -> None:
        self.cards[name.lower()] = replace(self.cards[name.lower()], **fields)
        self.version += 1

    def take(self, name: str) -> None:
        del self.embeddings[name.lower()], self.cards[name.lower()]
        self.version += 1

    def names(self) -> Collection[str]:
        return [card.name for card in self.cards.values() if card.problem is None]

    def get(self, name: str) -> Embedding | None:
        return self.embeddings.get(name.lower())

    def card(self, name: str) -> Card | None:
        return self.cards.get(name.lower())


def random_encoder(key: str, width: int, seed: int, projection: int | None = None) -> TextEncoder:
    """A text encoder of three layers whose norms are random too, as those of a trained one."""
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        projection_dim=projection or width,
        hidden_act="gelu" if key != "clip_l" else "quick_gelu",
        bos_token_id=49406,
        eos_token_id=EOS,
    )
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    model = kind(config).eval()
    for name, weight in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            torch.nn.init.normal_(weight, mean=0.3, std=0.5)
        elif "embedding" not in name:
            torch.nn.init.normal_(weight, std=width**-0.5)
    skipped = 0 if key == "clip_l" and not projection else 1
    return TextEncoder(key, model, skipped_layers=skipped)


def model_of(family: str, tokenizer: CLIPTokenizer, encoders: tuple[TextEncoder, ...]) -> Model:
    return Model(
        name=f"tiny {family}",
        path=Path(f"tiny-{family}"),
        short_hash="0000000000",
        family=family,
        tokenizer=tokenizer,
        text_encoders=encoders,
        unet=None,  # type: ignore[arg-type]
        vae=None,  # type: ignore[arg-type]
        scheduler_config={},
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
