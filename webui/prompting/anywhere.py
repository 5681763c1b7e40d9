"""AUTOMATIC1111's rule for names: found by their token ids, anywhere in a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from webui.prompting.source import EmbeddingSource
from webui.prompting.tokens import Tokens

_END: Any = None
"""Key of a tree's node under which the name lies that ends there."""


def find_tokens(
    ids: tuple[int, ...], tree: dict[Any, Any], accept: Callable[[str], bool]
) -> list[tuple[int, int, str]]:
    """Return names in token ids as (start, end, name): AUTOMATIC1111's rule, longest first."""
    found: list[tuple[int, int, str]] = []
    position = 0
    while position < len(ids):
        node = tree.get(ids[position])
        index = position
        ends: list[tuple[int, str]] = []
        while node is not None:
            index += 1
            if (name := node.get(_END)) is not None:
                ends.append((index, name))
            node = node.get(ids[index]) if index < len(ids) else None
        match = next(((end, name) for end, name in reversed(ends) if accept(name)), None)
        if match is None:
            position += 1
        else:
            found.append((position, *match))
            position = match[0]
    return found


def token_tree(names: Iterable[str], tokens: Tokens) -> dict[Any, Any]:
    """Return names as a tree of their token ids, for ``find_tokens``."""
    root: dict[Any, Any] = {}
    names = list(names)
    tokens.learn(names)
    for name in names:
        node = root
        for id_ in tokens.of(name):
            node = node.setdefault(id_, {})
        if node is not root:
            node[_END] = name
    return root


@lru_cache(maxsize=2)
def _token_tree(source: EmbeddingSource, version: int, tokens: Tokens) -> dict[Any, Any]:
    return token_tree(source.names(), tokens)


def token_tree_of(source: EmbeddingSource, tokens: Tokens) -> dict[Any, Any]:
    """Return the tree of a collection's names in tokens, made anew when its version has changed."""
    return _token_tree(source, source.version, tokens)
