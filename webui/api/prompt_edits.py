"""Edits of a prompt for the page's script: a card's call put in or taken out, a weight changed."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from webui.generation.request import MAX_PROMPT
from webui.prompting.editing.calls import insert, remove
from webui.prompting.editing.rules import finder_of
from webui.prompting.editing.spans import Edit
from webui.prompting.editing.weights import adjust_weight
from webui.studio.card_feed import call
from webui.studio.studio import Studio


class Wish(BaseModel):
    """A prompt, what is selected in it in code points, and what is to be done with it."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=2 * MAX_PROMPT)
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    card: str = ""
    """Path of the embedding's file, to toggle its call."""
    steps: Literal[-1, 0, 1] = 0
    """Where no card is named: the weight's way, down or up."""
    anywhere: bool = False
    """Whether bare names are found by their tokens, as A1111 does."""


class Answer(BaseModel):
    """The changed prompt and what is selected in it."""

    text: str
    start: int
    end: int
    taken: bool = False
    """Whether a call was taken out."""


def routes(studio: Studio) -> APIRouter:
    """Return the route ``/prompt-edits``."""
    router = APIRouter()

    @router.post("/prompt-edits", include_in_schema=False)
    def prompt_edit(wish: Wish) -> Answer:
        find = finder_of(studio.library, studio.models.state.model, wish.anywhere)
        end = min(wish.end, len(wish.text))
        start = min(wish.start, end)
        if not wish.card:
            weighed = adjust_weight(wish.text, start, end, wish.steps, find)
            return _answer(weighed or Edit(wish.text, start, end))
        card = studio.library.card_at(wish.card)
        if card is None:
            raise HTTPException(404, "This embedding is gone.")
        taken = remove(wish.text, start, card.name, find)
        if taken is not None:
            return _answer(taken, taken=True)
        return _answer(insert(wish.text, start, end, card.name, call(card), find))

    return router


def _answer(edit: Edit, taken: bool = False) -> Answer:
    return Answer(text=edit.text, start=edit.start, end=edit.end, taken=taken)
