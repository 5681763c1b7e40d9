"""Which embedding a name calls for one model, and what to tell the person about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass

from webui.errors import AppError
from webui.models.families import incompatibility
from webui.prompting.chunks import CHUNK_TOKENS
from webui.prompting.nearest import missing_sentence, nearest_of
from webui.prompting.source import Card, EmbeddingSource
from webui.prompting.tokens import Tokens

_SINGLE_WORD = re.compile(r"\w[^\s,;:()\[\]<>|\"]{1,100}(?<![.!?])")
_ALIKE = 0.85
"""A bare word is remarked on from this likeness to a name (0 to 1)."""


@dataclass(frozen=True)
class CardLength:
    """Stands for an embedding whose vectors need not be read."""

    name: str
    vectors: int

    def __len__(self) -> int:
        return self.vectors


class Lookup:
    """Finds the embeddings of one prompt that can be used with one model.

    Gathers what there is to tell the person, whole sentences, each once: ``warnings`` (something
    in the prompt does not act as written) and ``remarks`` (worth knowing, nothing wrong).
    """

    def __init__(
        self, source: EmbeddingSource, widths: Mapping[str, int], model_name: str, load: bool
    ) -> None:
        """Get ready; with ``load`` vectors are read from their files, else only the cards are."""
        self.source = source
        self._widths, self._model_name, self._load = widths, model_name, load
        self._resolved: dict[str, Sized | None] = {}
        self._warnings: dict[str, None] = {}
        self._remarks: dict[str, None] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not act as written."""
        return tuple(self._warnings)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth knowing."""
        return tuple(self._remarks)

    def warn(self, sentence: str) -> None:
        """Tell the person something, once."""
        self._warnings[sentence] = None

    def refuse(self, sentence: str) -> None:
        """Stop before anything is computed; where only cards are read, warn instead."""
        if self._load:
            raise AppError(sentence)
        self.warn(sentence)

    def accept(self, name: str) -> bool:
        """Say whether the bare name calls an embedding."""
        card = self.source.card(name)
        if card is not None and card.notes.explicit_only:
            return False
        return self.resolve(name) is not None

    def resolve(self, name: str) -> Sized | None:
        """Return an embedding that can be used, or None after a warning that says why not."""
        if name not in self._resolved:
            try:
                self._resolved[name] = self._usable(name)
            except _Unusable as problem:
                self._resolved[name] = None
                if str(problem):
                    self.warn(f"The embedding “{name}” was left as words. {problem}")
        return self._resolved[name]

    def _usable(self, name: str) -> Sized:
        card = self.source.card(name)
        if card is not None and card.problem:
            raise _Unusable(card.problem)
        if card is not None:
            self._fits(name, card.widths, card.vectors)
            self._remark_on_training(name, card)
        if card is not None and not self._load:
            return CardLength(name, card.vectors)
        try:
            embedding = self.source.get(name)
        except AppError as error:
            raise _Unusable(str(error)) from error
        if embedding is None:
            raise _Unusable("Its file is gone.")
        self._fits(name, embedding.widths, len(embedding))
        return embedding

    def _fits(self, name: str, widths: Mapping[str, int], vectors: int) -> None:
        sentence = incompatibility(widths, self._widths, self._model_name)
        if sentence is not None:
            raise _Unusable(sentence)
        if vectors > CHUNK_TOKENS:
            sentence = (
                f"The embedding “{name}” has {vectors} vectors; a chunk of the prompt holds "
                f"{CHUNK_TOKENS}. Take it out of the prompt, or use one with fewer vectors."
            )
            self.refuse(sentence)
            raise _Unusable("")

    def _remark_on_training(self, name: str, card: Card) -> None:
        if card.trained_on and card.trained_on.casefold() != self._model_name.casefold():
            self._remarks[
                f"“{name}” was trained on another checkpoint, {card.trained_on}; with "
                f"{self._model_name} it may look different."
            ] = None

    def called(self, name: str, known: bool, folder: str) -> Sized | str:
        """Return what an explicit call puts into the text: an embedding, its name as words, or "".

        ``known`` says that the collection has the name, ``folder`` is what was written before it.
        """
        card = self.source.card(name)
        if not known and (card is None or not card.problem):
            self.warn(missing_sentence(name, self.source))
            return ""
        if folder and card is not None and not _in_folder(card.folder, folder):
            self.warn(
                f"There is no embedding “{folder}/{name}”; "
                f"“{name}” was taken from the folder “{card.folder or '.'}”."
            )
        embedding = self.resolve(name)
        return name if embedding is None else embedding

    def look_for_broken_names(self, texts: Iterable[str]) -> None:
        """Warn of words that would call an embedding if its file were sound."""
        for word in _single_words(texts):
            card = self.source.card(word)
            if card is not None and card.problem:
                self.resolve(word)

    def look_for_near_misses(self, texts: Iterable[str], tokens: Tokens) -> None:
        """Remark on words that look like the name of an embedding.

        Words that CLIP knows as one token are ordinary words; they are left alone.
        """
        nearest = nearest_of(self.source)
        for word in _single_words(texts):
            pieces = len(tokens.of(word))
            if pieces < 2 or len(word) < 5 or self.source.card(word) is not None:
                continue
            name = nearest.to(word, _ALIKE) if pieces > 2 else nearest.same_letters(word)
            card = self.source.card(name) if name else None
            if name and not (card is not None and card.notes.explicit_only):
                self._remarks[f"There is no embedding “{word}”; did you mean “{name}”?"] = None


class _Unusable(Exception):
    """An embedding that stays words; the message says why, unless that has been said."""


def _in_folder(folder: str, written: str) -> bool:
    """Say whether the folder written before a name is the one it lies in, or the end of it."""
    return f"/{folder.casefold()}".endswith(f"/{written.casefold()}")


def _single_words(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word for text in texts for word in _SINGLE_WORD.findall(text)))
