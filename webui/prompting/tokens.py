"""Text to token ids, remembering the words seen before; and names found by their ids."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from webui.prompting.names import NameTree
from webui.prompting.source import EmbeddingSource

if TYPE_CHECKING:
    from webui.libraries import CLIPTokenizer

_REMEMBERED = 50_000
"""Words kept in memory; at some 200 bytes each."""
_BLANKS = re.compile(r"[ \t\r\n]+")


class Tokens:
    """One tokenizer and what it made of each word so far.

    CLIP's tokenizer never joins text across a blank, so the ids of a text are those of its words
    one after the other. Most words of a prompt were there before the last key was pressed.

    Works on a copy of the tokenizer's core: the original keeps the padding and truncation that
    others asked for last, and must not be used by two threads at once while those change.
    """

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        self._tokenizer = tokenizer
        self._core = copy.deepcopy(tokenizer.backend_tokenizer)
        self._core.no_padding()
        self._core.no_truncation()
        self._ids: dict[str, tuple[int, ...]] = {}
        self.bos: int = tokenizer.bos_token_id
        self.eos: int = tokenizer.eos_token_id
        self.comma: int = self.of(",")[0]

    def learn(self, texts: Iterable[str]) -> None:
        """Tokenize and remember the words of some texts."""
        known = self._ids
        new = {word for text in texts for word in _BLANKS.split(text) if word not in known}
        if len(known) + len(new) > _REMEMBERED:
            self._ids = known = {}
        for word in new:
            known[word] = tuple(self._core.encode(word, add_special_tokens=False).ids)

    def of(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text, without BOS and EOS."""
        known = self._ids
        try:
            return tuple(id_ for word in _BLANKS.split(text) for id_ in known[word])
        except KeyError:
            self.learn((text,))
            return tuple(self._core.encode(text, add_special_tokens=False).ids)

    def with_spans(self, text: str) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """Return the token ids of a text, and where in it each token stands."""
        encoded = self._core.encode(text, add_special_tokens=False)
        return tuple(encoded.ids), encoded.offsets

    def starts(self, text: str) -> list[int]:
        """Return where in the text each of its tokens begins."""
        return [start for start, _ in self.with_spans(text)[1]]

    def text(self, ids: Iterable[int]) -> str:
        """Return token ids as text, in lower case as the tokenizer keeps it."""
        return str(self._tokenizer.decode(list(ids))).strip()


@lru_cache(maxsize=4)
def tokens_of(tokenizer: CLIPTokenizer) -> Tokens:
    """Return the one memory of words that belongs to a tokenizer."""
    return Tokens(tokenizer)


def find_tokens(
    ids: tuple[int, ...], tree: NameTree[int], accept: Callable[[str], bool]
) -> list[tuple[int, int, str]]:
    """Return names in token ids as (start, end, name): AUTOMATIC1111's rule, longest first."""
    found: list[tuple[int, int, str]] = []
    position = 0
    while position < len(ids):
        ends = tree.walk(ids, position)
        match = next(((end, name) for end, name in ends if accept(name)), None)
        if match is None:
            position += 1
        else:
            found.append((position, *match))
            position = match[0]
    return found


def token_tree(names: Iterable[str], tokens: Tokens) -> NameTree[int]:
    """Return names as a tree of their token ids, for ``find_tokens``."""
    names = list(names)
    tokens.learn(names)
    tree: NameTree[int] = NameTree()
    for name in names:
        tree.add(tokens.of(name), name)
    return tree


@lru_cache(maxsize=2)
def _token_tree(source: EmbeddingSource, version: int, tokens: Tokens) -> NameTree[int]:
    return token_tree(source.names(), tokens)


def token_tree_of(source: EmbeddingSource, tokens: Tokens) -> NameTree[int]:
    """Return the tree of a collection's names in tokens, made anew when its version has changed."""
    return _token_tree(source, source.version, tokens)
