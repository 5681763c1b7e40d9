"""Where in a prompt, as it was written, its calls, LoRAs, comments and brackets stand."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from webui.prompting.grammar import finite
from webui.prompting.loras import COMMENT, lora_spans
from webui.prompting.names import EmbeddingCall, NameIndex, NameTree, find_calls
from webui.prompting.schedule import Span
from webui.prompting.tokens import Tokens, find_tokens

_SIGN = re.compile(r"\\[()\[\]\\]|[()\[\]:|]")
_BETWEEN = re.compile(r":\s*[+-]?[.\d]+\s*\)|[()\[\]]")
_ESCAPE = re.compile(r"\\(?=[()\[\]\\])")

WORD = re.compile(r"(?:\\.|[^\s,()\[\]:|\\])+")
"""What counts as one word where a caret stands in it."""
_WHEN = re.compile(r"\s*(?:::?\s*[.\d]+\s*)?")

Finder = Callable[[str], list[EmbeddingCall]]
"""Finds the calls of embeddings in a text without comments and LoRAs."""


@dataclass(frozen=True)
class Group:
    """A pair of brackets."""

    start: int
    inner_end: int
    """Where the content ends, which begins after the opening bracket."""
    end: int
    weight: float | None
    """What the brackets multiply by; None for a schedule."""


@dataclass(frozen=True)
class Written:
    """A prompt as it was written; all positions are those in ``text``."""

    text: str
    calls: tuple[EmbeddingCall, ...]
    """Calls of embeddings, known or not, in order."""
    loras: tuple[Span, ...]
    comments: tuple[Span, ...]
    groups: tuple[Group, ...]
    """Brackets that are closed, inner ones before those around them."""

    @property
    def whole(self) -> list[Span]:
        """What moves as a whole: calls, LoRAs and comments, in order."""
        return sorted([*map(span_of, self.calls), *self.loras, *self.comments])


@dataclass(frozen=True)
class Edit:
    """A changed prompt and what is selected in it."""

    text: str
    start: int
    end: int


def span_of(call: EmbeddingCall) -> Span:
    """Return where a call stands."""
    return call.start, call.end


def read_written(text: str, find: Finder) -> Written:
    """Say what stands where in a prompt; takes as long as reading it for drawing."""
    normal, places = _normal(text)
    comments = [match.span() for match in COMMENT.finditer(normal)]
    clean, kept = _without(normal, places, comments)
    loras = lora_spans(clean)
    bare, left = _without(clean, kept, loras)
    calls = [
        replace(call, start=left[call.start][0], end=left[call.end - 1][1]) for call in find(bare)
    ]
    hidden = [_placed(kept, span) for span in loras]
    silent = [_placed(places, span) for span in comments]
    closed = sorted([*map(span_of, calls), *hidden, *silent])
    groups = tuple(groups_in(text, closed))
    return Written(text, tuple(calls), tuple(hidden), tuple(silent), groups)


def holds(text: str, group: Group, start: int, end: int) -> bool:
    """Say whether brackets hold ``text[start:end]`` and blanks and a schedule's step alone."""
    if not (group.start < start and end <= group.inner_end):
        return False
    before, after = text[group.start + 1 : start], text[end : group.inner_end]
    return not before.strip() and bool(_WHEN.fullmatch(after))


def find_anywhere(
    text: str,
    index: NameIndex,
    tokens: Tokens,
    tree: NameTree[int],
    accept: Callable[[str], bool],
) -> list[EmbeddingCall]:
    """Return the calls in a text whose bare names are found by their tokens, as A1111 does."""
    calls = find_calls(text, index)
    position = 0
    for start, end in [*map(span_of, calls), (len(text), len(text))]:
        for letters, places in _stretches(text, position, start):
            ids, spans = tokens.with_spans(letters)
            for first, last, name in find_tokens(ids, tree, accept):
                begin, stop = places[spans[first][0]], places[spans[last - 1][1] - 1] + 1
                calls.append(EmbeddingCall(begin, stop, name, explicit=False, known=True))
        position = end
    return sorted(calls, key=span_of)


def _stretches(text: str, start: int, end: int) -> Iterator[tuple[str, list[int]]]:
    """Yield the words between brackets without their escapes, and where each letter stands."""
    signs = [match.span() for match in _SIGN.finditer(text, start, end) if len(match[0]) == 2]
    cuts = [
        match.span()
        for match in _BETWEEN.finditer(text, start, end)
        if not any(first < match.start() < last for first, last in signs)
    ]
    for left, right in zip(
        [start, *(last for _, last in cuts)], [*(first for first, _ in cuts), end], strict=True
    ):
        escapes = {match.start() for match in _ESCAPE.finditer(text, left, right)}
        places = [place for place in range(left, right) if place not in escapes]
        if places:
            yield "".join(text[place] for place in places), places


def _normal(text: str) -> tuple[str, list[Span]]:
    """Return a text as ``clean`` normalises it, and where each of its letters comes from."""
    if unicodedata.is_normalized("NFC", text):
        return text, [(place, place + 1) for place in range(len(text))]
    letters: list[str] = []
    places: list[Span] = []
    start = 0
    for end in range(1, len(text) + 1):
        cluster = text[start:end]
        if end < len(text) and not _parts(cluster, text[end]):
            continue
        normal = unicodedata.normalize("NFC", cluster)
        letters.append(normal)
        places += [(start, end)] * len(normal)
        start = end
    return "".join(letters), places


def _parts(before: str, letter: str) -> bool:
    """Say whether a letter stays what it is after the ones before it, and they too."""
    if letter < "\x80":
        return True
    joined = unicodedata.normalize("NFC", before + letter)
    apart = unicodedata.normalize("NFC", before) + unicodedata.normalize("NFC", letter)
    return joined == apart and unicodedata.combining(letter) == 0


def _without(text: str, places: list[Span], spans: Sequence[Span]) -> tuple[str, list[Span]]:
    """Return a text and the places of its letters with some pieces taken out."""
    kept_text, kept_places, position = [], [], 0
    for start, end in (*spans, (len(text), len(text))):
        kept_text.append(text[position:start])
        kept_places += places[position:start]
        position = end
    return "".join(kept_text), kept_places


def _placed(places: list[Span], span: Span) -> Span:
    return places[span[0]][0], places[span[1] - 1][1]


def groups_in(text: str, closed: Sequence[Span]) -> Iterator[Group]:
    """Yield the brackets that are closed; those inside ``closed`` are text.

    Inner ones come before those around them.
    """
    opened: list[tuple[str, int, list[int]]] = []
    position = 0
    for start, end in (*closed, (len(text), len(text))):
        for match in _SIGN.finditer(text, position, start):
            sign, place = match[0], match.start()
            if sign in ("(", "["):
                opened.append((sign, place, []))
            elif sign in (":", "|") and opened:
                opened[-1][2].append(place)
            elif sign in (")", "]"):
                partner = "(" if sign == ")" else "["
                while opened and any(bracket == partner for bracket, _, _ in opened):
                    bracket, first, marks = opened.pop()
                    if bracket == partner:
                        yield _group(text, bracket, first, marks, place)
                        break
        position = max(position, end)


def _group(text: str, bracket: str, start: int, marks: list[int], close: int) -> Group:
    if bracket == "[":
        return Group(start, close, close + 1, None if marks else 0.9)
    number = finite(text[marks[-1] + 1 : close].strip()) if marks else None
    if number is None:
        return Group(start, close, close + 1, 1.1)
    return Group(start, marks[-1], close + 1, number)
