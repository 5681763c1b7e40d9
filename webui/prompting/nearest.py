"""Suggestions for names that do not exist, at a cost that does not grow with the collection."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache

from webui.prompting.names import fold
from webui.prompting.source import EmbeddingSource

_VERSION = re.compile(r"[\W_]*(?:v|ver|version)?[\W_]*\d+(?:[._]\d+)*$")
_COMMON = 400
"""Three letters that occur in more names than this tell nothing apart."""
_CANDIDATES = 40
"""Names that are compared letter by letter."""
_ALIKE = 0.6
"""From this likeness (0 to 1, as ``difflib``'s) a name is suggested."""


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

    def to(self, word: str, alike: float = _ALIKE) -> str | None:
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
