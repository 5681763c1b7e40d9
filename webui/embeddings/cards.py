"""Cards: what is known of each file; and which file gets a name where several want it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from webui.embeddings.formats import VECTOR_SUFFIXES
from webui.embeddings.index import Stamp
from webui.embeddings.sidecars import Notes


@dataclass(frozen=True)
class Card:
    """What is known of one file without reading its vectors again."""

    name: str
    """What is written in the prompt: the file name without its extension."""
    path: Path
    root: Path
    """The embeddings folder it lies in."""
    folder: str
    """Sub-folder inside its embeddings folder, "" at the top."""
    widths: Mapping[str, int]
    """Vector width per text encoder, e.g. ``{"clip_l": 768}``; empty if unreadable."""
    vectors: int
    """Token positions it takes; 0 if unreadable."""
    step: int | None = None
    trained_on: str | None = None
    trained_on_hash: str | None = None
    inner_name: str | None = None
    short_hash: str = ""
    """First 12 hex digits of the file's SHA-256, as A1111 writes it; "" if too large to read."""
    content_hash: str = ""
    """The same whatever the container; see ``hash_vectors``."""
    size_bytes: int = 0
    modified: float = 0.0
    """Seconds since 1970."""
    added: float = 0.0
    """When the file came to the folder, seconds since 1970."""
    format: str = ""
    """For people, e.g. ``A1111 .pt``."""
    kind: str = ""
    """As in ``Embedding``: FIRST_ENCODER, OUTPUT, or "" for the usual."""
    problem: str | None = None
    """Why it cannot be used, in whole sentences; None if it can."""
    shadowed_by: str | None = None
    """Path, relative to its folder, of the file that has the name; None if this one has it."""
    preview: Path | None = None
    """A picture to show: a sidecar, or the picture embedding itself."""
    preview_stamp: Stamp | None = None
    """State of that picture, so that another one in its place is noticed."""
    notes: Notes = field(default_factory=Notes)
    second_path: Path | None = None
    """Where two files make one SDXL embedding: the file for the second text encoder."""
    stamp: Stamp = Stamp(0, 0, 0)
    """State of the file that all this was read from."""
    inside: bool = False
    """Whether this is one of several embeddings in its file, called by its name in there."""

    @property
    def key(self) -> str:
        """What tells it from all other cards."""
        return f"{self.path}#{self.name}" if self.inside else str(self.path)

    @property
    def explicit_only(self) -> bool:
        """Whether it is only called as ``<name>``; names that strangers chose always are."""
        return self.inside or self.notes.explicit_only

    @property
    def usable(self) -> bool:
        """Whether its name in a prompt calls it."""
        return self.problem is None and self.shadowed_by is None


@dataclass(frozen=True)
class LibrarySnapshot:
    """All cards at one moment; whoever shows them compares ``version``."""

    version: int
    cards: tuple[Card, ...]
    """Sorted by name."""

    @cached_property
    def by_key(self) -> Mapping[str, Card]:
        """The cards by their keys."""
        return {card.key: card for card in self.cards}


Merge = Callable[[Card, Card], str | None]
"""Gives the content hash of two files together, or None while it is not known."""


class Naming:
    """Decides which card has each name, and pairs the two files of an SDXL embedding."""

    def __init__(
        self, rank: Callable[[Card], tuple[Any, ...]], relative: Callable[[Card], str]
    ) -> None:
        """``rank`` sorts cards of one name, the winner first; ``relative`` shortens its path."""
        self._rank = rank
        self._relative = relative
        self._raw: dict[str, dict[str, Card]] = {}
        """The cards of each file, by their names (case folded)."""
        self._paths: dict[str, set[str]] = {}

    def put(self, path: str, cards: Sequence[Card]) -> set[str]:
        """Take in, replace or remove (none) one file's cards; return the names to resolve anew."""
        old = self._raw.pop(path, {})
        for key in old:
            self._paths[key].discard(path)
        new = {card.name.casefold(): card for card in cards}
        if new:
            self._raw[path] = new
        for key in new:
            self._paths.setdefault(key, set()).add(path)
        touched = {*old, *new}
        paired = {other for key in touched for other in _related(key) if other in self._paths}
        return touched | paired

    def resolve(self, key: str, merge: Merge) -> list[Card]:
        """Return the cards of one name (case folded), the one that has the name first."""
        cards = [self._paired(self._raw[path][key], merge) for path in self._paths.get(key, ())]
        shown = [card for card in cards if card]
        if len(shown) > 1:
            shown.sort(key=self._rank)
        fine = [card for card in shown if card.problem is None]
        broken = [card for card in shown if card.problem is not None]
        if len(fine) > 1:
            winner = self._relative(fine[0])
            fine[1:] = [replace(card, shadowed_by=winner) for card in fine[1:]]
        return fine + broken

    def _paired(self, card: Card, merge: Merge) -> Card | None:
        """Return the card, with its second file if it has one; None for a second file."""
        if _is_second(card):
            first = self._beside(card, _first_names(card.name), _is_first)
            if first and first.vectors == card.vectors and merge(first, card):
                return None
        if _is_first(card):
            second = self._beside(card, _second_names(card.name), _is_second)
            merged = merge(card, second) if second and second.vectors == card.vectors else None
            if second and merged:
                return replace(
                    card,
                    widths={**card.widths, **second.widths},
                    kind="",
                    content_hash=merged,
                    format=f"{card.format}, two files",
                    second_path=second.path,
                    size_bytes=card.size_bytes + second.size_bytes,
                )
        return card

    def _beside(
        self, card: Card, names: Iterable[str], fits: Callable[[Card], bool]
    ) -> Card | None:
        """Return the fitting card of one of these names in the same folder, or None."""
        for name in names:
            for path in sorted(self._paths.get(name.casefold(), ())):
                other = self._raw[path][name.casefold()]
                if other.path.parent == card.path.parent and fits(other):
                    return other
        return None


def suffix_rank(path: Path) -> int:
    """Return where a file's ending stands among those that may hold vectors."""
    suffix = path.suffix.lower()
    return VECTOR_SUFFIXES.index(suffix) if suffix in VECTOR_SUFFIXES else len(VECTOR_SUFFIXES)


def _is_first(card: Card) -> bool:
    return card.problem is None and not card.inside and dict(card.widths) == {"clip_l": 768}


def _is_second(card: Card) -> bool:
    return card.problem is None and not card.inside and dict(card.widths) == {"clip_g": 1280}


def _second_names(name: str) -> list[str]:
    """Return the names diffusers gives the file for the second text encoder."""
    names = [f"{name}_2"]
    if name.lower().startswith("learned_embeds-"):
        names.append("learned_embeds_2" + name[len("learned_embeds") :])
    return names


def _first_names(name: str) -> list[str]:
    """Return the names diffusers gives the first file beside a second file of this name."""
    names = [name[:-2]] if name.endswith("_2") else []
    if name.lower().startswith("learned_embeds_2-"):
        names.append("learned_embeds" + name[len("learned_embeds_2") :])
    return names


def _related(key: str) -> list[str]:
    """Return the names whose pairing depends on a name."""
    return _first_names(key) + _second_names(key)
