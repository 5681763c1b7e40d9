"""Edits of a prompt for the page's script: a card's call put in or taken out, a weight changed."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from webui.api.model_cards import lora_call, lora_folder, lora_names
from webui.generation.request import MAX_PROMPT
from webui.prompting.editing.calls import insert, remove
from webui.prompting.editing.lora_calls import insert_lora, remove_lora
from webui.prompting.editing.rules import finder_of
from webui.prompting.editing.spans import Edit
from webui.prompting.editing.weights import adjust_weight
from webui.prompting.loras import list_loras
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
    lora: str = ""
    """Path of a LoRA's file, to toggle its call."""
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
        end = min(wish.end, len(wish.text))
        start = min(wish.start, end)
        if wish.lora:
            return _lora_toggled(studio, wish, start, end)
        find = finder_of(studio.library, studio.models.state.model, wish.anywhere)
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


def _lora_toggled(studio: Studio, wish: Wish, start: int, end: int) -> Answer:
    """Take a LoRA's call out of the prompt, or put it in. Raises HTTPException for other files."""
    folder = lora_folder(studio)
    files = list_loras(folder)
    path = next((path for path in files.values() if str(path) == wish.lora), None)
    call = lora_call(path, folder, files) if path else None
    if path is None or call is None:
        raise HTTPException(404, "This LoRA is gone, or no prompt can name it.")
    names = lora_names(path, files)
    taken = remove_lora(wish.text, start, lambda name: name.casefold() in names)
    return (
        _answer(taken, taken=True) if taken else _answer(insert_lora(wish.text, start, end, call))
    )


def _answer(edit: Edit, taken: bool = False) -> Answer:
    return Answer(text=edit.text, start=edit.start, end=edit.end, taken=taken)
