"""The things that one run learns: names, words to start from, and their marks in captions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from webui.errors import BadField
from webui.prompting.names import NameIndex, find_calls
from webui.training.stages import NAME

if TYPE_CHECKING:
    from torch import Tensor

MARK = re.compile(r"\[name(?: ([1-9]\d?))?\]")
"""What stands for an embedding in a caption: ``[name]`` is the first, ``[name 2]`` the second."""
MOST = 16
"""Names of one run."""
LONGEST_TITLE = 80
"""Letters of a run's names that are in a file's name."""
_COUNTED = re.compile(r"\d+_")


@dataclass(frozen=True)
class Concept:
    """One thing that a run learns."""

    name: str
    """Of its embedding, as it will be written in prompts."""
    initializer: str
    """A word or a few that describe it coarsely; learning starts from there."""


@dataclass(frozen=True)
class Placeholder(Concept):
    """A concept, and which of a run's vectors are its own."""

    initializer_ids: tuple[int, ...]
    first: int
    count: int

    def rows(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return its own of a run's vectors, ``[count, width]`` per text encoder."""
        return {key: rows[self.first : self.first + self.count] for key, rows in vectors.items()}


def names_in(text: str) -> tuple[str, ...]:
    """Return the names of ``a, b``; a single name, or none, is one."""
    return tuple(name for part in text.split(",") if (name := part.strip())) or ("",)


def title_of(names: Sequence[str]) -> str:
    """Return what files of several names together are called."""
    return "+".join(names)[:LONGEST_TITLE].rstrip(".")


def concepts_of(names: str, initializers: str) -> tuple[Concept, ...]:
    """Return what ``a, b`` is to be learned from ``cat, grey dog``.

    One initializer serves several names; of a single name it may hold commas. Raises BadField if
    there are neither one nor as many initializers as names, for a name that is there twice, and
    for more names than ``MOST``.
    """
    found = names_in(names)
    words = [part.strip() for part in initializers.split(",")]
    if len(found) == 1 or len(words) == 1:
        return _distinct(tuple(Concept(name, initializers.strip()) for name in found))
    if len(words) != len(found):
        raise BadField(
            "initializer",
            f"There are {len(found)} names and {len(words)} initializers. Write one for each name, "
            "with commas between them, or one for all.",
        )
    return _distinct(tuple(map(Concept, found, words)))


def _distinct(concepts: tuple[Concept, ...]) -> tuple[Concept, ...]:
    folded = [concept.name.casefold() for concept in concepts]
    for number, name in enumerate(folded):
        if name in folded[:number]:
            raise BadField("name", f"“{concepts[number].name}” is there twice.")
    if len(concepts) > MOST:
        raise BadField("name", f"One run learns at most {MOST} names, not {len(concepts)}.")
    return concepts


def concept_shown(path: Path, names: Sequence[str]) -> int | None:
    """Return which of several names a picture shows, counted from 0, or None if none.

    Its folder is called like the name, or as Kohya's scripts have it ``20_name class words``; else
    the file's name begins with it.
    """
    if len(names) == 1:
        return 0
    folder = _COUNTED.sub("", path.parent.name.casefold(), count=1)
    for number, name in enumerate(map(str.casefold, names)):
        if folder == name or folder.startswith(f"{name} "):
            return number
    begun = [name for name in names if _begins(path.stem.casefold(), name.casefold())]
    return names.index(max(begun, key=len)) if begun else None


def _begins(stem: str, name: str) -> bool:
    rest = stem[len(name) :]
    return stem.startswith(name) and not rest[:1].isalpha()


def mark(number: int) -> str:
    """Return the mark of a name, counted from 0."""
    return f"[name {number + 1}]" if number else NAME


def marked(text: str, names: Sequence[str], own: int) -> str:
    """Return a text with marks in the place of names; ``[name]`` in it is that of ``own``.

    Names are found as bare names are in prompts: as whole words, in any case.
    """
    text = text.replace(NAME, mark(own))
    pieces, end = [], 0
    for call in find_calls(text, NameIndex(names), lambda name: True):
        pieces += [text[end : call.start], mark(names.index(call.name))]
        end = call.end
    return "".join((*pieces, text[end:]))


def number_of(found: re.Match[str]) -> int:
    """Return which name a mark stands for, counted from 0."""
    return int(found[1] or 1) - 1
