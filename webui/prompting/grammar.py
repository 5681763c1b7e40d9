"""The attention grammar: brackets and numbers become weights on pieces of text.

It is our own because libraries' grammars read AUTOMATIC1111's prompts in other ways than it does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

DEEPEST = 64
"""Brackets nested deeper than this change nothing more (1.1 to the 64th is 445)."""
HEAVIEST = 1e6
"""Weights end here on both sides, so that a product of weights stays a number."""

_LEXEME = re.compile(
    r"\\[()\[\]\\]|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|\]|[^\\()\[\]:]+|:",
)
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class Atom:
    """A piece of a text that the grammar does not look into: an embedding's call."""

    start: int
    end: int
    content: object
    """A str is put into the text as it stands; anything else becomes a segment of its own."""
    weight: float = 1.0
    """Multiplies the weight that the brackets round it give."""


@dataclass(frozen=True)
class Segment:
    """A piece of a prompt with one weight."""

    content: object
    """str: words; None: BREAK; anything else: the content of an Atom."""
    weight: float


@dataclass(frozen=True)
class Attention:
    """A prompt as the attention grammar understands it."""

    segments: tuple[Segment, ...]
    unclosed: int = 0
    """Opening brackets without their closing ones; their weight reaches to the end."""
    unopened: int = 0
    """Closing brackets without their opening ones; they are text."""


class _Reader:
    """The segments so far and the brackets that are open, while a prompt is read."""

    def __init__(self) -> None:
        self.contents: list[object] = []
        self.weights: list[float] = []
        self.open: dict[str, list[int]] = {"(": [], "[": []}
        self.unopened = 0

    def add(self, content: object, weight: float = 1.0) -> None:
        self.contents.append(content)
        self.weights.append(weight)

    def add_text(self, text: str) -> None:
        """Add words, with BREAK told apart and the blanks round it dropped."""
        position = 0
        for match in _BREAK.finditer(text):
            if before := text[position : match.start()].rstrip():
                self.add(before)
            self.add(None)
            position = match.end()
        rest = text[position:].lstrip() if position else text
        if rest:
            self.add(rest)

    def close(self, bracket: str, factor: float) -> None:
        """Multiply everything since the last ``bracket``."""
        starts = self.open[bracket]
        start = starts.pop()
        if len(starts) >= DEEPEST:
            return
        scaled = [weight * factor for weight in self.weights[start:]]
        if abs(factor) > 1.1:
            scaled = [within_reason(weight) for weight in scaled]
        self.weights[start:] = scaled

    def take(self, lexeme: str, number: str | None) -> None:
        """Take one lexeme of the text between the atoms."""
        if lexeme in self.open:
            self.open[lexeme].append(len(self.contents))
        elif lexeme == ")" and self.open["("]:
            self.close("(", 1.1)
        elif lexeme == "]" and self.open["["]:
            self.close("[", 1 / 1.1)
        elif number is not None and self.open["("]:
            weight = finite(number)
            if weight is None:
                self.add_text(lexeme[:-1])
                weight = 1.1
            self.close("(", within_reason(weight))
        elif lexeme[0] == "\\":
            if len(lexeme) > 1:
                self.add(lexeme[1:])
        else:
            self.unopened += lexeme[-1] in ")]"
            self.add_text(lexeme)


def finite(number: str) -> float | None:
    """Return a number of a prompt, or None where the text is no number or an endless one."""
    try:
        value = float(number)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def within_reason(weight: float) -> float:
    """Return a weight, or the heaviest there is in its place."""
    return min(max(weight, -HEAVIEST), HEAVIEST)


def weigh(text: str, atoms: Sequence[Atom] = ()) -> Attention:
    """Read the attention of a text: ``(a)`` × 1.1, ``[a]`` ÷ 1.1, ``(a:1.2)``, escapes, BREAK.

    ``atoms`` are in the order of the text and do not overlap. The rules are those of
    AUTOMATIC1111's ``parse_prompt_attention``, except that BREAK breaks inside brackets as well
    and that a number such as ``1.2.3`` is text. Neighbours of one weight are joined.
    """
    reader = _Reader()
    position = 0
    for atom in (*atoms, None):
        end = len(text) if atom is None else atom.start
        for match in _LEXEME.finditer(text, position, end):
            reader.take(match[0], match[1])
        if atom is not None:
            reader.add(atom.content, atom.weight)
            position = atom.end
    unclosed = sum(map(len, reader.open.values()))
    while reader.open["("]:
        reader.close("(", 1.1)
    while reader.open["["]:
        reader.close("[", 1 / 1.1)
    return Attention(_joined(reader.contents, reader.weights), unclosed, reader.unopened)


def plain(text: str, atoms: Sequence[Atom] = ()) -> Attention:
    """Read a text without attention: brackets and BREAK are words, and all weights are 1."""
    contents: list[object] = []
    position = 0
    for atom in atoms:
        contents += [text[position : atom.start], atom.content]
        position = atom.end
    contents.append(text[position:])
    return Attention(_joined(contents, [1.0] * len(contents)))


def _joined(contents: list[object], weights: list[float]) -> tuple[Segment, ...]:
    """Join neighbouring words of one weight, with nothing between them, and drop empty ones."""
    segments: list[Segment] = []
    words: list[str] = []
    current = 1.0
    for content, weight in (*zip(contents, weights, strict=True), (None, 1.0)):
        if words and (not isinstance(content, str) or weight != current):
            segments.append(Segment("".join(words), within_reason(current)))
            words = []
        if isinstance(content, str):
            if content:
                words.append(content)
                current = weight
        else:
            segments.append(Segment(content, within_reason(weight)))
    segments.pop()
    return tuple(segments)
