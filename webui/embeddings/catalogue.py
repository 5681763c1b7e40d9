"""The cards as everyone sees them: published together, under a version number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from webui.embeddings.cards import Card, LibrarySnapshot, Naming, suffix_rank
from webui.plain_text import as_text

PairHash = Callable[[Card, Card], str]
"""Gives the content hash of two files together, "" if they cannot be one; may read them."""


class Catalogue:
    """Takes in cards of single files, and publishes which has each name; safe from any thread."""

    def __init__(self, folders: Sequence[Path], pair_hash: PairHash) -> None:
        self._folders = tuple(folders)
        self._pair_hash = pair_hash
        self._lock = threading.RLock()
        self._naming = Naming(self._rank, relative)
        self._resolved: dict[str, list[Card]] = {}
        self._touched: set[str] = set()
        self._pairs: dict[tuple[str, str], str] = {}
        self._version = 0
        self._snapshot = LibrarySnapshot(0, ())
        self._names: frozenset[str] | None = None

    @property
    def version(self) -> int:
        """A number that grows with each real change."""
        return self._version

    def snapshot(self) -> LibrarySnapshot:
        """Return all cards, sorted by name; of one name, the card that has it first."""
        with self._lock:
            if self._snapshot.version != self._version:
                cards = (card for key in sorted(self._resolved) for card in self._resolved[key])
                self._snapshot = LibrarySnapshot(self._version, tuple(cards))
            return self._snapshot

    def names(self) -> Collection[str]:
        """Return the usable names as they are written."""
        with self._lock:
            if self._names is None:
                firsts = (cards[0] for cards in self._resolved.values())
                self._names = frozenset(card.name for card in firsts if card.usable)
            return self._names

    def cards(self, name: str) -> Sequence[Card]:
        """Return the cards of a name in any case, the one that has it first."""
        with self._lock:
            return tuple(self._resolved.get(name.casefold(), ()))

    def put(self, path: str, cards: Sequence[Card]) -> None:
        """Take in one file's cards, if any; seen by nobody before ``publish``."""
        with self._lock:
            self._touched |= self._naming.put(path, cards)

    def publish(self) -> None:
        """Decide the names that were touched; the version grows if any card became different."""
        while missing := self._decide():
            for first, second in missing:
                key = first.content_hash, second.content_hash
                self._pairs[key] = self._pair_hash(first, second)
                with self._lock:
                    self._touched |= {first.name.casefold(), second.name.casefold()}

    def _decide(self) -> list[tuple[Card, Card]]:
        """Decide the touched names; return pairs of files whose common hash is not known yet."""
        missing: list[tuple[Card, Card]] = []

        def merge(first: Card, second: Card) -> str | None:
            known = self._pairs.get((first.content_hash, second.content_hash))
            if known is None:
                missing.append((first, second))
            return known or None

        with self._lock:
            touched, self._touched = self._touched, set()
            changed = False
            for key in touched:
                cards = self._naming.resolve(key, merge)
                if cards != self._resolved.get(key, []):
                    changed = True
                    self._resolved[key] = cards
                if not cards:
                    self._resolved.pop(key, None)
            if changed:
                self._version += 1
                self._names = None
        return missing

    def _rank(self, card: Card) -> tuple[bool, int, int, int, str]:
        """Sort cards of one name: whole files first, the nearest to the top, then by path."""
        depth = len(card.path.parts) - len(card.root.parts)
        folder = self._folders.index(card.root)
        return card.inside, depth, folder, suffix_rank(card.path), str(card.path)


def relative(card: Card) -> str:
    """Return a card's path inside its folder, for people."""
    return as_text(str(card.path.relative_to(card.root)))
