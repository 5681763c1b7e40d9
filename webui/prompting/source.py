"""The embeddings that a prompt can call, and the settings that say how it is understood."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from webui.embeddings.cards import Card
from webui.embeddings.embedding import Embedding

EMPHASES = ("original", "no_norm", "ignore", "none", "comfy")


class EmbeddingSource(Protocol):
    """A collection of embeddings; ``webui.embeddings.library.EmbeddingLibrary`` is one.

    Sources are told apart by identity and must be hashable.
    """

    @property
    def version(self) -> int:
        """Grows with each change, so that whoever remembers something can compare one number."""

    def __hash__(self) -> int: ...

    def names(self) -> Collection[str]:
        """Return the usable names as they are written."""

    def get(self, name: str) -> Embedding | None:
        """Return an embedding by name, in any case, or None; raises AppError if unreadable."""

    def card(self, name: str) -> Card | None:
        """Return what is known of an embedding by name, in any case, or None."""


class Overlay:
    """A collection of embeddings and a few more beside it. Satisfies ``EmbeddingSource``."""

    def __init__(
        self, below: EmbeddingSource, more: Iterable[Embedding], first: bool = False
    ) -> None:
        """Where both have a name, ``below`` is asked, or with ``first`` the others are."""
        self._below, self._first = below, first
        self._more = {embedding.name.casefold(): embedding for embedding in more}

    @property
    def version(self) -> int:
        """The version of ``below``; two overlays are told apart by identity."""
        return self._below.version

    def names(self) -> Collection[str]:
        """Return the names of both."""
        below = [name for name in self._below.names() if self._own(name) is None]
        return [*below, *(own.name for name, own in self._more.items() if self._own(name))]

    def get(self, name: str) -> Embedding | None:
        """Return an embedding of either."""
        return self._own(name) or self._below.get(name)

    def card(self, name: str) -> Card | None:
        """Return what is known of an embedding of either."""
        own = self._own(name)
        if own is None:
            return self._below.card(name)
        path = own.source or Path(own.name)
        hash_ = own.content_hash
        widths, count = own.widths, len(own)
        return Card(own.name, path, Path(), "", widths, count, content_hash=hash_, kind=own.kind)

    def _own(self, name: str) -> Embedding | None:
        card = None if self._first else self._below.card(name)
        return self._more.get(name.casefold()) if card is None or not card.usable else None


@dataclass(frozen=True)
class PromptSettings:
    """What besides the text decides how a prompt is understood."""

    emphasis: str = "original"
    """How weights act: original (multiply, restore the mean), no_norm (multiply only), ignore
    (brackets are read, weights dropped), none (brackets are ordinary text), comfy (interpolate
    from the empty prompt)."""
    clip_skip: int = 1
    """1 is the last layer, 2 the one before it, …; acts on SD 1.x only, as in AUTOMATIC1111."""
    match_anywhere: bool = False
    """Find bare names by their tokens anywhere in the text, as AUTOMATIC1111 does."""
    comma_backtrack: int = 20
    """How many tokens back from a full chunk a comma may lie to break the chunk there; 0: none."""
    late_schedules: bool = False
    """Switch ``[a:b:n]`` and ``[a|b]`` one step late, as AUTOMATIC1111 does: it counts the steps
    of the sampler from 0 and those of the schedule from 1, so that a stays for n + 1 steps."""
    old_timelines: bool = False
    """Read the number of ``[a:b:n]`` as AUTOMATIC1111 did before 1.6: below 1 it is a part of the
    steps, point or not, and a second pass begins anew."""
    steps_before: int = 0
    """Steps of the pass before this one, from which the numbers of ``[a:b:n]`` count on: 1.5 is
    the middle of a second pass."""
    equal_lengths: bool = True
    """Fill up the shorter of prompt and negative prompt with empty chunks. Otherwise each has its
    own length, and parts joined by AND are filled up with their last vector, as AUTOMATIC1111
    does unless it is told to pad."""
