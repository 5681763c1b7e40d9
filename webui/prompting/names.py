"""Finding the calls of embeddings in a text, at a cost that does not grow with their number."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from webui.prompting.grammar import finite, within_reason
from webui.prompting.source import EmbeddingSource

_NAME_LEXEME = re.compile(r"\w+|\s+|[^\w\s]")
_TEXT_LEXEME = re.compile(r"\w+|\s+|\\[()\[\]\\]|[^\w\s]")
_EXTENSION = re.compile(r"\.(?:pt|bin|safetensors|png|webp|jxl|avif)(?!\w)", re.IGNORECASE)
_FOLDERS = re.compile(r"(?:[^\s,()\[\]<>|:/\\]{1,100}[/\\]){1,8}")
_MISSING = re.compile(r"[^\s,()\[\]<>|:]{1,200}")
_MISSING_ANGLE = re.compile(r"[^\s<>|:]{1,200}>")
_ANGLE_REST = re.compile(r"[^<>\n]{1,300}>")
_ANGLE_END = re.compile(r"\s{0,9}(?::\s{0,9}([^\s:<>]{1,40})\s{0,9})?>")


Piece = TypeVar("Piece")


@dataclass(frozen=True)
class EmbeddingCall:
    """An embedding called in a text."""

    start: int
    end: int
    name: str
    """As the collection writes it; as it was typed if there is none of this name."""
    explicit: bool
    """Called as ``<name>`` or ``embedding:name``, not by its bare name."""
    known: bool
    weight: float = 1.0
    """From ``<embedding:name:1.2>``."""
    folder: str = ""
    """The folder written before the name, with forward slashes."""


def fold(text: str) -> str:
    """Return a text with its case taken away, of the same length so that positions stay."""
    folded = text.casefold()
    if len(folded) == len(text):
        return folded
    return "".join(low if len(low := char.casefold()) == 1 else char for char in text)


class NameTree(Generic[Piece]):
    """Names by the pieces they are made of: who looks one up walks piece by piece."""

    __slots__ = ("name", "next")

    def __init__(self) -> None:
        self.name: str | None = None
        self.next: dict[Piece, NameTree[Piece]] = {}

    def add(self, pieces: Iterable[Piece], name: str) -> None:
        """Take in a name; one without pieces cannot be found."""
        node = self
        for piece in pieces:
            node = node.next.setdefault(piece, NameTree())
        if node is not self:
            node.name = name

    def walk(self, pieces: Sequence[Piece], start: int) -> list[tuple[int, str]]:
        """Return the names that begin at a piece, longest first, each with the piece after it."""
        found: list[tuple[int, str]] = []
        node = self
        for index in range(start, len(pieces)):
            following = node.next.get(pieces[index])
            if following is None:
                break
            node = following
            if node.name is not None:
                found.append((index + 1, node.name))
        found.reverse()
        return found


class NameIndex(NameTree[str]):
    """The names of a collection as a tree of words."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__()
        for name in names:
            folded = fold(unicodedata.normalize("NFC", name)).strip()
            words = _NAME_LEXEME.findall(folded)
            self.add((" " if word.isspace() else word for word in words), name)

    def has_first(self, key: str) -> bool:
        """Say whether a name begins with this word."""
        return key in self.next


class _Search:
    """One text, cut into words once."""

    def __init__(self, text: str, index: NameIndex, accept: Callable[[str], bool] | None) -> None:
        self.text = text
        self.index = index
        self.accept = accept
        self.keys: list[str] = []
        self.starts: list[int] = []
        for match in _TEXT_LEXEME.finditer(fold(text)):
            lexeme = match[0]
            self.starts.append(match.start())
            if lexeme.isspace():
                self.keys.append(" ")
            else:
                self.keys.append(lexeme[1:] if len(lexeme) == 2 and lexeme[0] == "\\" else lexeme)
        self.starts.append(len(text))

    def run(self) -> list[EmbeddingCall]:
        calls: list[EmbeddingCall] = []
        position = 0
        for number, key in enumerate(self.keys):
            if self.starts[number] < position:
                continue
            call = None
            if key == "<":
                call = self.angle(number)
            elif key == "embedding" and self.keys[number + 1 : number + 2] == [":"]:
                call = self.colon(number)
            if (call is None or not call.known) and self.index.has_first(key):
                call = self.bare(number) or call
            if call is not None:
                calls.append(call)
                position = call.end
        return calls

    def bare(self, number: int) -> EmbeddingCall | None:
        start = self.starts[number]
        if self.accept is None or not boundary_before(self.text, start):
            return None
        for after, name in self.index.walk(self.keys, number):
            end = self.end(after)
            if boundary_after(self.text, end) and self.accept(name):
                return EmbeddingCall(start, end, name, explicit=False, known=True)
        return None

    def colon(self, number: int) -> EmbeddingCall | None:
        """Read ``embedding:name`` and ``embedding:sub/name``."""
        start = self.starts[number]
        if not boundary_before(self.text, start):
            return None
        for first, folder in self.names_at(number + 2):
            for after, name in self.index.walk(self.keys, first):
                end = self.end(after)
                if boundary_after(self.text, end):
                    return EmbeddingCall(start, end, name, True, True, folder=folder)
        match = _MISSING.match(self.text, self.starts[number + 2])
        if match is None:
            return None
        return EmbeddingCall(start, match.end(), without_extension(match[0]), True, False)

    def angle(self, number: int) -> EmbeddingCall | None:
        """Read ``<name>``, ``<embedding:name>`` and ``<embedding:name:1.2>``."""
        start = self.starts[number]
        prefixed = self.keys[number + 1 : number + 3] == ["embedding", ":"]
        first_name = number + (3 if prefixed else 1)
        for first, folder in self.names_at(first_name):
            for after, name in self.index.walk(self.keys, first):
                match = _ANGLE_END.match(self.text, self.end(after))
                weight = finite(match[1] or "1") if match else None
                if match and weight is not None:
                    weight = within_reason(weight)
                    return EmbeddingCall(start, match.end(), name, True, True, weight, folder)
                if match:
                    return None
        pattern = _ANGLE_REST if prefixed else _MISSING_ANGLE
        if first_name >= len(self.keys):
            return None
        match = pattern.match(self.text, self.starts[first_name])
        if match is None or match[0][:-1].isdigit() and not prefixed:
            return None
        name = match[0][:-1].rpartition(":")[0] or match[0][:-1]
        return EmbeddingCall(start, match.end(), without_extension(name.strip()), True, False)

    def names_at(self, number: int) -> list[tuple[int, str]]:
        """Return the words at which a name may begin, each with the folder before it."""
        places = [(number, "")]
        if number < len(self.keys) and (match := _FOLDERS.match(self.text, self.starts[number])):
            first = bisect_left(self.starts, match.end())
            if self.starts[first] == match.end():
                places.append((first, match[0].replace("\\", "/").rstrip("/")))
        return places

    def end(self, after: int) -> int:
        """Return where a name ends whose next word is given, with its file extension."""
        end = self.starts[after]
        extension = _EXTENSION.match(self.text, end)
        return extension.end() if extension else end


def find_calls(
    text: str, index: NameIndex, accept: Callable[[str], bool] | None = None
) -> list[EmbeddingCall]:
    """Return the calls of embeddings in a text, in order, none overlapping another.

    Explicit calls are ``<name>``, ``<embedding:name:1.2>``, ``embedding:name`` and
    ``embedding:sub/name``; they are found whether or not there is such an embedding. Bare names
    are found as whole words, longest first, where ``accept`` says yes; without it, not at all.
    Case does not count, nor do a file extension after the name and backslashes before brackets.
    """
    return _Search(text, index, accept).run()


def boundary_before(text: str, start: int) -> bool:
    """Say whether a whole word may begin here: not inside ``a-bad``, ``abad`` or ``1.5``."""
    if start == 0 or not _joins(text[start]):
        return True
    before = text[start - 1]
    if _joins(before):
        return False
    further = text[start - 2] if start > 1 else " "
    if before == "-":
        return not _joins(further)
    return not (before == "." and further.isdigit() and text[start].isdigit())


def boundary_after(text: str, end: int) -> bool:
    """Say whether a whole word may end here: not inside ``bad-hands``, ``badly`` or ``v1.5``."""
    after = text[end] if end < len(text) else " "
    further = text[end + 1] if end + 1 < len(text) else " "
    if _clings(after):
        return False
    if not _joins(text[end - 1]):
        return True
    if after == "-":
        return not _joins(further)
    if after == ".":
        return not (text[end - 1].isdigit() and further.isdigit())
    return not _joins(after)


def _joins(char: str) -> bool:
    return char == "_" or char.isalnum() or _clings(char)


def _clings(char: str) -> bool:
    """Whether a character belongs to the one before it: accents, emoji joiners and variants."""
    return char > "\x7f" and (char == "\u200d" or unicodedata.category(char)[0] == "M")


def without_extension(name: str) -> str:
    """Return a name as typed, without backslashes before brackets and without its extension."""
    name = re.sub(r"\\([()\[\]\\])", r"\1", name)
    match = _EXTENSION.search(name)
    return name[: match.start()] if match and match.end() == len(name) and match.start() else name


@lru_cache(maxsize=4)
def _index(source: EmbeddingSource, version: int) -> NameIndex:
    return NameIndex(source.names())


def index_of(source: EmbeddingSource) -> NameIndex:
    """Return the index of a collection's names, made anew only when its version has changed."""
    return _index(source, source.version)
