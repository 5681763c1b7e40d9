"""Tokens and embeddings laid out in chunks of 75, as the text encoders take them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from webui.embeddings.embedding import Embedding

CHUNK_TOKENS = 75
"""Token positions of one chunk between BOS and EOS."""


@dataclass(frozen=True)
class Words:
    """Tokens of one weight."""

    ids: tuple[int, ...]
    weight: float = 1.0
    text: str = ""
    """What they were before, for people."""

    def __len__(self) -> int:
        """How many positions they take."""
        return len(self.ids)


@dataclass(frozen=True)
class Insert:
    """An embedding that takes as many positions as it has vectors."""

    embedding: Embedding
    weight: float = 1.0
    name: str = ""
    word: tuple[int, ...] = ()
    """Tokens that stand for it before a text encoder that it has no vectors for."""

    def __len__(self) -> int:
        """How many positions it takes."""
        return len(self.embedding)


@dataclass(frozen=True)
class Break:
    """The word BREAK: the next item begins a new chunk."""


Item = Words | Insert | Break


@dataclass(frozen=True)
class Slot:
    """Where the vectors of an embedding stand in a chunk."""

    position: int
    """The first of its positions, 1 to 75."""
    embedding: Embedding
    word: tuple[int, ...] = ()
    """As in ``Insert``."""


@dataclass(frozen=True)
class Chunk:
    """What a text encoder takes in one go."""

    token_ids: tuple[int, ...]
    """77: BOS, content, EOS, and EOS again to the end. 0 where vectors will stand."""
    weights: tuple[float, ...]
    """77, one a position; 1.0 for BOS, EOS and padding."""
    slots: tuple[Slot, ...] = ()

    @property
    def end(self) -> int:
        """Position of the first EOS."""
        return self.token_ids.index(self.token_ids[-1])

    def padded(self, token_id: int) -> tuple[int, ...]:
        """Return the 77 ids with another token after the first EOS than EOS again."""
        kept = self.token_ids[: self.end + 1]
        return (*kept, *[token_id] * (len(self.token_ids) - len(kept)))

    def seen_by(self, encoder: str) -> Chunk:
        """Return the chunk for a text encoder that some of its embeddings have no vectors for.

        Their words stand in their places, as far as they fit there, and what follows moves up.
        """
        if all(encoder in slot.embedding.vectors for slot in self.slots):
            return self
        ids, weights, slots, done = list[int](), list[float](), list[Slot](), 0
        for slot in self.slots:
            end = slot.position + len(slot.embedding)
            ids += self.token_ids[done : slot.position]
            weights += self.weights[done : slot.position]
            inside = self.token_ids[slot.position : end]
            if encoder in slot.embedding.vectors:
                slots.append(replace(slot, position=len(ids)))
            else:
                inside = slot.word[: len(inside)]
            ids += inside
            weights += self.weights[slot.position : slot.position + len(inside)]
            done = end
        missing = len(self.token_ids) - len(ids) - (len(self.token_ids) - done)
        return Chunk(
            (*ids, *self.token_ids[done:], *self.token_ids[-1:] * missing),
            (*weights, *self.weights[done:], *[1.0] * missing),
            tuple(slots),
        )

    def emptied(self) -> Chunk:
        """Return the chunk of an empty prompt."""
        eos = self.token_ids[-1]
        return Chunk((self.token_ids[0], *[eos] * (CHUNK_TOKENS + 1)), (1.0,) * (CHUNK_TOKENS + 2))


@dataclass(frozen=True)
class Layout:
    """A prompt laid out in chunks."""

    chunks: tuple[Chunk, ...]
    """At least one."""
    starts: tuple[int, ...]
    """How many tokens and vectors of the prompt lie before each chunk."""
    used: int
    """Positions in use, chunks before the last counted as full."""

    @property
    def limit(self) -> int:
        """Positions that these chunks have."""
        return CHUNK_TOKENS * len(self.chunks)


@dataclass
class _Open:
    """The chunk being filled."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    """Counted from 0 here, without BOS."""
    comma: int = -1
    """Where its last comma stands."""

    def after(self, cut: int) -> _Open:
        """Take away what stands from ``cut`` on, and return it as the beginning of a chunk."""
        moved = _Open(
            self.ids[cut:],
            self.weights[cut:],
            [_moved(slot, -cut) for slot in self.slots if slot.position >= cut],
        )
        del self.ids[cut:], self.weights[cut:]
        self.slots = [slot for slot in self.slots if slot.position < cut]
        return moved

    def closed(self, bos: int, eos: int) -> Chunk:
        padding = CHUNK_TOKENS - len(self.ids) + 1
        return Chunk(
            (bos, *self.ids, *[eos] * padding),
            (1.0, *self.weights, *[1.0] * padding),
            tuple(_moved(slot, 1) for slot in self.slots),
        )


def _moved(slot: Slot, by: int) -> Slot:
    return replace(slot, position=slot.position + by)


def lay_out(items: Iterable[Item], bos: int, eos: int, comma: int, backtrack: int = 20) -> Layout:
    """Fill chunks with tokens and embeddings, as AUTOMATIC1111 does.

    When a chunk is full and its last comma lies at most ``backtrack`` tokens back, what follows
    the comma moves to the next chunk, embeddings included. An embedding is never split: one that
    no longer fits begins a new chunk. No embedding may have more than 75 vectors.
    """
    filler = _Filler(bos, eos, comma, backtrack)
    for item in items:
        if isinstance(item, Break):
            filler.turn()
        elif isinstance(item, Insert):
            filler.insert(item)
        else:
            filler.words(item)
    return filler.finish()


class _Filler:
    """The chunks so far and the one being filled."""

    def __init__(self, bos: int, eos: int, comma: int, backtrack: int) -> None:
        self.bos, self.eos, self.comma, self.backtrack = bos, eos, comma, backtrack
        self.chunks: list[Chunk] = []
        self.starts: list[int] = [0]
        self.placed = 0
        self.open = _Open()

    def turn(self, following: _Open | None = None) -> None:
        """Close the chunk and begin another, with what has been taken from its end, if anything."""
        self.chunks.append(self.open.closed(self.bos, self.eos))
        self.open = following or _Open()
        self.starts.append(self.placed - len(self.open.ids))

    def make_room(self) -> None:
        """Begin a new chunk if this one is full, at its last comma if that is near."""
        chunk = self.open
        if len(chunk.ids) < CHUNK_TOKENS:
            return
        if self.backtrack and chunk.comma >= 0 and CHUNK_TOKENS - chunk.comma <= self.backtrack:
            self.turn(chunk.after(chunk.comma + 1))
        if len(self.open.ids) == CHUNK_TOKENS:
            self.turn()

    def words(self, item: Words) -> None:
        for id_ in item.ids:
            if id_ == self.comma:
                if len(self.open.ids) == CHUNK_TOKENS:
                    self.turn()
                else:
                    self.open.comma = len(self.open.ids)
            else:
                self.make_room()
            self.open.ids.append(id_)
            self.open.weights.append(item.weight)
            self.placed += 1

    def insert(self, item: Insert) -> None:
        count = len(item)
        self.make_room()
        if len(self.open.ids) + count > CHUNK_TOKENS:
            self.turn()
        self.open.slots.append(Slot(len(self.open.ids), item.embedding, item.word))
        self.open.ids += [0] * count
        self.open.weights += [item.weight] * count
        self.placed += count

    def finish(self) -> Layout:
        count = CHUNK_TOKENS * len(self.chunks) + len(self.open.ids)
        if self.open.ids or not self.chunks:
            self.turn()
        starts = tuple(self.starts[: len(self.chunks)])
        return Layout(tuple(self.chunks), starts, count)
