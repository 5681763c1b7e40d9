"""What changes in a prompt while a picture is drawn, and the parts it is composed of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""Start and end of a piece of text that is not looked into, such as an embedding's call."""

DEEPEST = 30
"""Schedules nested deeper than this are text."""

_AND = re.compile(r"\bAND\b")
_PART_WEIGHT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_WHEN = re.compile(r"\s*([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*")
_LEXEME = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\", re.DOTALL)


@dataclass(frozen=True)
class Stage:
    """The text of a prompt for some steps in a row."""

    last_step: int
    """The last step it holds for, counted from 1."""
    text: str


@dataclass(frozen=True)
class _Switch:
    """``[before:after:when]``: ``before`` up to and including step ``when``, then ``after``."""

    before: _Parts
    after: _Parts
    when: int
    depth: int


@dataclass(frozen=True)
class _Turns:
    """``[a|b|c]``: one after the other, a step each."""

    options: tuple[_Parts, ...]
    depth: int


_Part = str | _Switch | _Turns
_Parts = Sequence[_Part]


@dataclass
class _Frame:
    """A bracket that is still open while reading."""

    bracket: str
    start: int
    """Index of the bracket in the output."""
    marks: list[int]
    """Indices of the ``:`` and ``|`` directly inside it."""


def compose(text: str, spans: Sequence[Span] = ()) -> list[tuple[str, float]]:
    """Split a prompt at each ``AND`` into texts with their weights, ``a cat AND a dog :0.5``.

    The weight is read only if there is an ``AND``; one that is not finite stays text.
    """
    cuts = [
        match.span()
        for match in _AND.finditer(text)
        if not any(start < match.end() and match.start() < end for start, end in spans)
    ]
    if not cuts:
        return [(text, 1.0)]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    return [_weighed(text, start, end, spans) for start, end in zip(starts, ends, strict=True)]


def _weighed(text: str, start: int, end: int, spans: Sequence[Span]) -> tuple[str, float]:
    colon = text.rfind(":", start, end)
    if colon < 0 or any(first <= colon < last for first, last in spans):
        return text[start:end], 1.0
    number = text[colon + 1 : end].strip()
    if not _PART_WEIGHT.fullmatch(number) or abs(float(number)) > 1e6:
        return text[start:end], 1.0
    return text[start:colon], float(number)


@dataclass(frozen=True)
class Clock:
    """What the numbers of switches count."""

    steps: int
    before: int = 0
    """Steps of the pass before, which are counted, too."""
    old: bool = False
    """Whether a number below 1 is a part of the steps, point or not, and each pass begins anew."""

    def step_of(self, number: str) -> int | None:
        """Return the step after which a switch with this number acts, None if it is none."""
        when = float(number)
        if not math.isfinite(when):
            return None
        if self.old:
            when *= self.steps if when < 1 else 1
        elif "." in number:
            when = (when - bool(self.before)) * self.steps
        else:
            when -= self.before
        return int(max(0, min(when, self.steps)))


def stages(
    text: str, steps: int, spans: Sequence[Span] = (), before: int = 0, old: bool = False
) -> list[Stage]:
    """Return the texts a prompt becomes over ``steps`` steps, at least one, in their order.

    ``when`` with a point is a fraction of the steps, otherwise a step, both counted from the
    beginning of a pass of ``before`` steps that went before, if one did, or else as ``old``
    versions of AUTOMATIC1111 did; brackets that are no schedule stay in the text for the attention
    grammar. Rules as in AUTOMATIC1111's prompt_parser,
    except that one unreadable bracket does not switch the others off.
    """
    if "[" not in text:
        return [Stage(steps, text)]
    parts = _parse(text, Clock(steps, before, old), spans)
    if all(isinstance(part, str) for part in parts):
        return [Stage(steps, text)]
    found: list[Stage] = []
    for last in sorted({steps, *_changes(parts, steps)}):
        rendered = "".join(_render(parts, last))
        if found and found[-1].text == rendered:
            found.pop()
        found.append(Stage(last, rendered))
    return found


def _parse(text: str, clock: Clock, spans: Sequence[Span]) -> list[_Part]:
    out: list[_Part] = []
    frames: list[_Frame] = []
    rounds = 0
    for lexeme, plain in _lexemes(text, spans):
        top = frames[-1] if frames else None
        if plain or lexeme not in "[]():|":
            out.append(lexeme)
        elif lexeme in "[(":
            frames.append(_Frame(lexeme, len(out), []))
            rounds += lexeme == "("
            out.append(lexeme)
        elif lexeme in ":|":
            if top and top.bracket == "[":
                top.marks.append(len(out))
            out.append(lexeme)
        elif lexeme == ")":
            if rounds:
                rounds -= 1
                while frames.pop().bracket != "(":
                    pass
            out.append(lexeme)
        elif top and top.bracket == "[":
            frames.pop()
            node = _close(out, top, clock)
            if node is None:
                out.append(lexeme)
            else:
                out[top.start :] = [node]
        else:
            out.append(lexeme)
    return out


def _lexemes(text: str, spans: Sequence[Span]) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a text, each with whether it must not be looked into."""
    position = 0
    for start, end in (*spans, (len(text), len(text))):
        for match in _LEXEME.finditer(text, position, start):
            yield match[0], len(match[0]) > 1
        if end > start:
            yield text[start:end], True
        position = end


def _close(out: list[_Part], frame: _Frame, clock: Clock) -> _Switch | _Turns | None:
    """Return what the bracket that ends at the end of ``out`` is, or None if it is text."""
    colons = [mark for mark in frame.marks if out[mark] == ":"]
    if not frame.marks or len(colons) > 2:
        return None
    depth = 1 + max((part.depth for part in out[frame.start :] if not isinstance(part, str)),
                    default=0)  # fmt: skip
    if depth > DEEPEST:
        return None
    if not colons:
        return _Turns(tuple(_split(out, frame.start, frame.marks)), depth)
    *texts, number = _split(out, frame.start, colons)
    if not all(isinstance(part, str) for part in number):
        return None
    match = _WHEN.fullmatch("".join(str(part) for part in number))
    when = clock.step_of(match[1]) if match else None
    if when is None:
        return None
    before = texts[0] if len(texts) == 2 else []
    return _Switch(before, texts[-1], when, depth)


def _split(out: list[_Part], start: int, marks: list[int]) -> list[list[_Part]]:
    bounds = [start, *marks, len(out)]
    return [out[left + 1 : right] for left, right in zip(bounds, bounds[1:], strict=False)]


def _changes(parts: _Parts, steps: int) -> Iterator[int]:
    """Yield the steps after which the text may change."""
    for part in parts:
        if isinstance(part, _Switch):
            if part.when >= 1:
                yield part.when
            yield from _changes(part.before, steps)
            yield from _changes(part.after, steps)
        elif isinstance(part, _Turns):
            yield from range(1, steps + 1)


def _render(parts: _Parts, step: int) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, _Switch):
            yield from _render(part.before if step <= part.when else part.after, step)
        else:
            yield from _render(part.options[(step - 1) % len(part.options)], step)
