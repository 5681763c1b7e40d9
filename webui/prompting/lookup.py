"""Which embedding a name calls for one model, and what to say where it calls none."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from webui.embeddings.cards import Card
from webui.embeddings.embedding import FIRST_ENCODER, OUTPUT, Embedding
from webui.errors import AppError
from webui.models.families import incompatibility
from webui.prompting.chunks import CHUNK_TOKENS
from webui.prompting.names import fold
from webui.prompting.source import EmbeddingSource
from webui.prompting.tokens import Tokens

_SINGLE_WORD = re.compile(r"\w[^\s,;:()\[\]<>|\"]{1,100}(?<![.!?])")
_ALIKE = 0.85
"""A bare word is remarked on from this likeness to a name (0 to 1)."""
_VERSION = re.compile(r"[\W_]*(?:v|ver|version)?[\W_]*\d+(?:[._]\d+)*$")
_COMMON = 400
"""Three letters that occur in more names than this tell nothing apart."""
_CANDIDATES = 40
"""Names that are compared letter by letter."""
_SUGGESTED = 0.6
"""From this likeness (0 to 1, as ``difflib``'s) a name is suggested."""


@dataclass(frozen=True, eq=False)
class UnreadEmbedding(Embedding):
    """Stands for an embedding whose vectors need not be read."""

    length: int = 0

    def __len__(self) -> int:
        return self.length


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
        self._cards: dict[str, Card | None] = {}
        self._resolved: dict[str, Embedding | None] = {}
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

    def card(self, name: str) -> Card | None:
        """Return what is known of an embedding, the same throughout the reading of a prompt."""
        if name not in self._cards:
            self._cards[name] = self.source.card(name)
        return self._cards[name]

    def accept(self, name: str) -> bool:
        """Say whether the bare name calls an embedding."""
        card = self.card(name)
        if card is not None and card.explicit_only:
            return False
        return self.resolve(name) is not None

    def resolve(self, name: str) -> Embedding | None:
        """Return an embedding that can be used, or None after a warning that says why not."""
        if name not in self._resolved:
            try:
                self._resolved[name] = self._usable(name)
            except _Unusable as problem:
                self._resolved[name] = None
                if str(problem):
                    self.warn(f"The embedding “{name}” was left as words. {problem}")
        return self._resolved[name]

    def _usable(self, name: str) -> Embedding:
        card = self.card(name)
        if card is not None and card.problem:
            raise _Unusable(card.problem)
        if card is not None:
            self._fits(name, card, card.vectors)
            self._remark_on_training(name, card)
        if card is not None and not self._load:
            return UnreadEmbedding(name, {}, length=card.vectors)
        try:
            embedding = self.source.get(name)
        except AppError as error:
            raise _Unusable(str(error)) from error
        if embedding is None:
            raise _Unusable("Its file is gone.")
        self._fits(name, embedding, len(embedding))
        return embedding

    def _fits(self, name: str, what: Card | Embedding, vectors: int) -> None:
        sentence = unfit(what, self._widths, self._model_name)
        if sentence is not None:
            raise _Unusable(sentence)
        if what.kind == OUTPUT:
            raise _Unusable(
                "It is a text encoder's output and takes the place of a whole negative prompt: "
                "write it there, alone."
            )
        if vectors > CHUNK_TOKENS:
            sentence = (
                f"The embedding “{name}” has {vectors} vectors; a chunk of the prompt holds "
                f"{CHUNK_TOKENS}. Take it out of the prompt, or use one with fewer vectors."
            )
            self.refuse(sentence)
            raise _Unusable("")

    def accept_output(self, name: str) -> bool:
        """Say whether the bare name calls a text encoder's output, in a negative prompt."""
        card = self.card(name)
        explicit = card is not None and card.explicit_only
        return not explicit and self.output(name) is not None

    def output(self, name: str) -> Embedding | None:
        """Return the embedding of a name if it is a text encoder's output that fits the model."""
        card = self.card(name)
        if card is None or not card.usable or card.kind != OUTPUT:
            return None
        if unfit(card, self._widths, self._model_name):
            return None
        if not self._load:
            return UnreadEmbedding(name, {}, length=card.vectors)
        return self.source.get(name)

    def _remark_on_training(self, name: str, card: Card) -> None:
        if card.trained_on and card.trained_on.casefold() != self._model_name.casefold():
            self._remarks[
                f"“{name}” was trained on another checkpoint, {card.trained_on}; with "
                f"{self._model_name} it may look different."
            ] = None

    def called(self, name: str, known: bool, folder: str) -> Embedding | str:
        """Return what an explicit call puts into the text: an embedding, its name as words, or "".

        ``known`` says that the collection has the name, ``folder`` is what was written before it.
        """
        card = self.card(name)
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
            card = self.card(word)
            if card is not None and card.problem:
                self.resolve(word)

    def look_for_near_misses(self, texts: Iterable[str], tokens: Tokens) -> None:
        """Remark on words that look like the name of an embedding.

        Words that CLIP knows as one token are ordinary words; they are left alone.
        """
        nearest = nearest_of(self.source)
        for word in _single_words(texts):
            pieces = len(tokens.of(word))
            if pieces < 2 or len(word) < 5 or self.card(word) is not None:
                continue
            name = nearest.to(word, _ALIKE) if pieces > 2 else nearest.same_letters(word)
            card = self.card(name) if name else None
            if name and not (card is not None and card.explicit_only):
                self._remarks[f"There is no embedding “{word}”; did you mean “{name}”?"] = None


def unfit(what: Card | Embedding, widths: Mapping[str, int], model_name: str) -> str | None:
    """Say why an embedding cannot be used with a model of these widths, or None if it can."""
    return incompatibility(what.widths, widths, model_name, what.kind == FIRST_ENCODER)


class _Unusable(Exception):
    """An embedding that stays words; the message says why, unless that has been said."""


def _in_folder(folder: str, written: str) -> bool:
    """Say whether the folder written before a name is the one it lies in, or the end of it."""
    return f"/{folder.casefold()}".endswith(f"/{written.casefold()}")


def _single_words(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word for text in texts for word in _SINGLE_WORD.findall(text)))


class Nearest:
    """The names of a collection by what they look like."""

    def __init__(self, names: Iterable[str]) -> None:
        self._bare: dict[str, str] = {}
        self._by_trigram: dict[str, list[str]] = defaultdict(list)
        for name in names:
            folded = fold(name)
            for key in (_letters(_VERSION.sub("", folded)), _letters(folded)):
                if len(key) >= 3:
                    self._bare.setdefault(key, name)
            for trigram in _trigrams(folded):
                self._by_trigram[trigram].append(name)

    def same_letters(self, word: str) -> str | None:
        """Return the name that has the same letters but for case, signs and version, or None."""
        folded = fold(word)
        return self._bare.get(_letters(folded)) or self._bare.get(
            _letters(_VERSION.sub("", folded))
        )

    def to(self, word: str, alike: float = _SUGGESTED) -> str | None:
        """Return the name most like a word, or None if none reaches the likeness ``alike``."""
        if found := self.same_letters(word):
            return found
        shared: Counter[str] = Counter()
        for trigram in _trigrams(fold(word)):
            names = self._by_trigram.get(trigram, ())
            if len(names) <= _COMMON:
                shared.update(names)
        best: tuple[float, str] = (alike, "")
        matcher = SequenceMatcher(b=fold(word))
        for name, _ in shared.most_common(_CANDIDATES):
            matcher.set_seq1(fold(name))
            best = max(best, (matcher.ratio(), name))
        return best[1] or None


def _letters(folded: str) -> str:
    return "".join(char for char in folded if char.isalnum())


def _trigrams(folded: str) -> set[str]:
    padded = f" {folded} "[:80]
    return {padded[start : start + 3] for start in range(len(padded) - 2)}


@lru_cache(maxsize=4)
def _nearest(source: EmbeddingSource, version: int) -> Nearest:
    return Nearest(source.names())


def nearest_of(source: EmbeddingSource) -> Nearest:
    """Return the look-alikes of a collection's names, made anew when its version has changed."""
    return _nearest(source, source.version)


def missing_sentence(name: str, source: EmbeddingSource) -> str:
    """Say that there is no embedding of this name, and which one may have been meant."""
    suggestion = nearest_of(source).to(name)
    if suggestion:
        return f"There is no embedding “{name}”; did you mean “{suggestion}”?"
    return f"There is no embedding “{name}”; it was left out."
