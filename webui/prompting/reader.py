"""A prompt as written becomes chunks: all that is understood of it, without computing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from webui.embeddings.embedding import FIRST_ENCODER, Embedding
from webui.prompting import schedule
from webui.prompting.chunks import CHUNK_TOKENS, Break, Insert, Item, Layout, Words, lay_out
from webui.prompting.grammar import Atom, Attention, Segment, plain, weigh
from webui.prompting.lookup import Lookup
from webui.prompting.loras import LoraCall, take_loras
from webui.prompting.names import EmbeddingCall, find_calls, index_of
from webui.prompting.source import PromptSettings
from webui.prompting.tokens import Tokens, find_tokens, token_tree_of

MOST_PARTS = 32
"""Parts that AND may compose; each costs as much time as a whole picture."""
MOST_CHUNKS = 100
"""Chunks a prompt may take, 7,500 tokens; what a graphics card has memory for."""


@dataclass(frozen=True)
class Part:
    """One of the prompts that ``AND`` composes; the only one in the ordinary case."""

    weight: float
    stages: tuple[schedule.Stage, ...]


@dataclass(frozen=True)
class Script:
    """A prompt taken apart as far as text goes."""

    parts: tuple[Part, ...]
    loras: tuple[LoraCall, ...]


@dataclass(frozen=True)
class Reading:
    """One text of a prompt, as it was understood."""

    attention: Attention
    items: list[Item]
    layout: Layout


class Reader:
    """Reads the prompts of one picture: with one model, one collection and one set of settings."""

    def __init__(self, tokens: Tokens, lookup: Lookup, settings: PromptSettings) -> None:
        self.lookup = lookup
        self.used: dict[str, Embedding] = {}
        """The embeddings in the items made so far, in the order of their first use."""
        self.words: dict[str, None] = {}
        """The texts of the items made so far that are words, once each."""
        self._tokens, self._settings = tokens, settings
        self._index = index_of(lookup.source)
        self._calls_in: dict[str, list[EmbeddingCall]] = {}

    def script(self, text: str, steps: int, negative: bool = False) -> Script:
        """Take a prompt apart: comments and LoRAs out, ``AND``, schedules.

        ``AND`` composes prompts only, and LoRAs are called in prompts only, not in negative ones.
        """
        text, loras, warnings = take_loras(text)
        for warning in warnings:
            self.lookup.warn(warning)
        if negative and loras:
            self.lookup.warn("LoRAs in the negative prompt do nothing; call them in the prompt.")
            loras = ()
        spans = self._spans(text) if "AND" in text and not negative else ()
        texts = [(text, 1.0)] if negative else schedule.compose(text, spans)
        if len(texts) > MOST_PARTS:
            self.lookup.refuse(
                f"The prompt composes {len(texts)} parts with AND; at most {MOST_PARTS} can be "
                "drawn. Take some out."
            )
        parts = []
        for part, weight in texts[:MOST_PARTS]:
            spans = self._spans(part) if "[" in part else ()
            settings = self._settings
            stages = schedule.stages(
                part, steps, spans, settings.steps_before, settings.old_timelines
            )
            if settings.late_schedules:
                stages = _a_step_late(stages, steps)
            parts.append(Part(weight, tuple(stages)))
        return Script(tuple(parts), loras)

    def whole_negative(self, text: str) -> Embedding | None:
        """Return the text encoder's output that a negative prompt calls, if it calls one.

        It takes the place of the whole negative prompt; what else stands in that is left out.
        """
        for call in find_calls(text, self._index, self.lookup.accept_output):
            if found := self.lookup.output(call.name):
                self.used[call.name] = found
                if (text[: call.start] + text[call.end :]).strip(" ,\n"):
                    self.lookup.warn(
                        f"“{call.name}” takes the place of the whole negative prompt; what stands "
                        "beside it was left out."
                    )
                return found
        return None

    def _spans(self, text: str) -> list[schedule.Span]:
        return [(call.start, call.end) for call in self._calls(text)]

    def _calls(self, text: str) -> list[EmbeddingCall]:
        if text not in self._calls_in:
            accept = None if self._settings.match_anywhere else self.lookup.accept
            self._calls_in[text] = find_calls(text, self._index, accept)
        return self._calls_in[text]

    def read(self, text: str) -> Reading:
        """Read the text of one stage: its embeddings and weights, laid out in chunks.

        Raises AppError if it takes too many chunks.
        """
        atoms = [self._atom(call) for call in self._calls(text)]
        attention = (plain if self._settings.emphasis == "none" else weigh)(text, atoms)
        items = self._items(attention.segments)
        tokens, backtrack = self._tokens, self._settings.comma_backtrack
        layout = lay_out(items, tokens.bos, tokens.eos, tokens.comma, backtrack)
        if len(layout.chunks) > MOST_CHUNKS:
            self.lookup.refuse(
                f"The prompt takes {len(layout.chunks)} chunks of {CHUNK_TOKENS} tokens; at most "
                f"{MOST_CHUNKS} can be drawn. Shorten it."
            )
        return Reading(attention, items, layout)

    def _items(self, segments: Sequence[Segment]) -> list[Item]:
        """Turn segments into what is laid out in chunks."""
        self._tokens.learn(s.content for s in segments if isinstance(s.content, str))
        weighted = self._settings.emphasis not in ("none", "ignore")
        items: list[Item] = []
        for segment in segments:
            weight = segment.weight if weighted else 1.0
            if isinstance(segment.content, Insert):
                items.append(replace(segment.content, weight=weight))
            elif not isinstance(segment.content, str):
                items.append(Break())
            elif self._settings.match_anywhere:
                items += self._found_in_tokens(segment.content, weight)
            else:
                items.append(Words(self._tokens.of(segment.content), weight, segment.content))
        self.words.update((i.text, None) for i in items if isinstance(i, Words))
        self.used.update((i.name, i.embedding) for i in items if isinstance(i, Insert))
        return items

    def _found_in_tokens(self, text: str, weight: float) -> list[Item]:
        tree = token_tree_of(self.lookup.source, self._tokens)
        ids = self._tokens.of(text)
        items: list[Item] = []
        position = 0
        found = find_tokens(ids, tree, self.lookup.accept)
        if not found:
            return [Words(ids, weight, text)]
        for start, end, name in (*found, (len(ids), len(ids), "")):
            if between := ids[position:start]:
                items.append(Words(between, weight, self._tokens.text(between)))
            if embedding := self.lookup.resolve(name) if name else None:
                items.append(self._insert(embedding, weight, name))
            position = end
        return items

    def _atom(self, call: EmbeddingCall) -> Atom:
        found = self.lookup.called(call.name, call.known, call.folder)
        if isinstance(found, str):
            return Atom(call.start, call.end, f" {found} ")
        return Atom(call.start, call.end, self._insert(found, 1.0, call.name), call.weight)

    def _insert(self, embedding: Embedding, weight: float, name: str) -> Insert:
        """Return what stands for an embedding, with its word where an encoder needs one."""
        words = embedding.initializer if embedding.kind == FIRST_ENCODER else None
        return Insert(embedding, weight, name, self._tokens.of(words) if words else ())


def _a_step_late(stages: Sequence[schedule.Stage], steps: int) -> list[schedule.Stage]:
    """Let each stage but the last hold for a step more; those that no step is left for go."""
    late: list[schedule.Stage] = []
    for stage in stages:
        if not late or late[-1].last_step < steps:
            late.append(replace(stage, last_step=min(stage.last_step + 1, steps)))
    return late
