"""From a file to the facts on its card; whatever is wrong with it becomes its problem."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from webui.embeddings import formats
from webui.embeddings.embedding import Embedding
from webui.embeddings.file_actions import check_name
from webui.embeddings.index import Facts, Inside
from webui.errors import AppError, BadField
from webui.plain_text import as_text, is_control
from webui.reader_process import Answer, Reader

log = logging.getLogger(__name__)
_EARLIER_STARTERS = frozenset({"65a3ec2bb5", "76a14a0f34", "091d89a580", "e620bcf532"})
"""Short hashes of the starter models of 128 pixels. Vectors made for them have the width of those
for the starter model of today, and mean nothing to it."""


@dataclass(frozen=True)
class FileRead:
    """What became of reading one file."""

    facts: Facts | None
    """None where the file is gone."""
    named: Mapping[str, Embedding] = field(default_factory=dict)
    """Its embeddings by the names that call them, if they were wanted."""


def read_files(
    paths: Sequence[str], reader: Reader, with_vectors: bool = True
) -> Iterator[FileRead]:
    """Read files and yield what is in each, in order; whatever is wrong becomes its problem.

    The reading goes on while nobody waits for it, if ``reader`` is other processes.
    """
    answers = reader.ask_many([(formats.told, path, True, with_vectors) for path in paths])
    return (
        _file_read(path, answer, with_vectors) for path, answer in zip(paths, answers, strict=True)
    )


def _file_read(name: str, answer: Answer | Exception, with_vectors: bool) -> FileRead:
    try:
        if isinstance(answer, Exception):
            raise answer
        told, numbers = answer
        formats.check_told(name, told)
    except formats.NoEmbedding:
        return FileRead(Facts(plain_picture=True))
    except formats.Refused as refused:
        return FileRead(Facts(problem=refused.reason, short_hash=refused.short_hash))
    except AppError as error:
        return FileRead(Facts(problem=str(error)))
    except FileNotFoundError:
        return FileRead(None)
    except OSError as fault:
        return FileRead(Facts(problem=f"It cannot be opened: {fault.strerror or fault}."))
    except Exception as fault:
        log.error("Unexpected fault while reading %s", name, exc_info=fault)
        problem = "It could not be read because of an unexpected error; see the log."
        return FileRead(Facts(problem=problem))
    stem = as_text(os.path.splitext(os.path.basename(name))[0])
    facts = _facts(stem, told)
    if not with_vectors:
        return FileRead(facts)
    return FileRead(facts, by_name(stem, formats.embeddings_of(Path(name), told, numbers)))


def _facts(stem: str, told: Mapping[str, Any]) -> Facts:
    """Return what ``formats.told`` has told of a file as the facts on its card."""
    embeddings = told["embeddings"]
    first = embeddings[0]
    names = names_in_file(stem, [one["inner_name"] for one in embeddings])
    inner_name = first["inner_name"]
    if len(embeddings) > 1:
        inner_name = f"{inner_name} (first of {len(embeddings)} in the file)"
    return Facts(
        **_size(first),
        step=first["step"],
        trained_on=first["trained_on"],
        trained_on_hash=first["trained_on_hash"],
        inner_name=inner_name,
        short_hash=told["short_hash"],
        format=told["format"],
        kind=first["kind"],
        inside=tuple(Inside(name, **_size(embeddings[place])) for name, place in names[1:]),
    )


def _size(one: Mapping[str, Any]) -> dict[str, Any]:
    shapes = one["shapes"]
    return {
        "widths": {key: shape[1] for key, shape in shapes.items()},
        "vectors": next(iter(shapes.values()))[0],
        "content_hash": one["known_hash"],
    }


def by_name(stem: str, embeddings: Sequence[Embedding]) -> dict[str, Embedding]:
    """Return the embeddings of a file by what calls them; see ``names_in_file``."""
    names = names_in_file(stem, [one.inner_name for one in embeddings])
    return {name: replace(embeddings[place], name=name) for name, place in names}


def names_in_file(stem: str, placeholders: Sequence[str | None]) -> list[tuple[str, int]]:
    """Return what calls the embeddings of a file, each with its place in the file.

    The first is called by the file's own name. Where there are several, each is called by its
    placeholder too, without the brackets round it; one that is no name, such as ``*``, gives way
    to the file's name and a number.
    """
    named, taken = [(stem, 0)], {stem.casefold()}
    for place, placeholder in enumerate(placeholders if len(placeholders) > 1 else ()):
        name = _placeholder_name(placeholder)
        if name is None or name.casefold() in taken:
            if place == 0:
                continue
            name = f"{stem}-{place + 1}"
        if name.casefold() not in taken:
            taken.add(name.casefold())
            named.append((name, place))
    return named


def _placeholder_name(placeholder: str | None) -> str | None:
    """Return what a placeholder can be called by, or None if it is no name."""
    name = (placeholder or "").strip().removeprefix("<").removesuffix(">")
    try:
        check_name(name)
    except BadField:
        return None
    return name if sum(map(str.isalnum, name)) > 1 else None


def name_problem(file_name: str) -> str | None:
    """Say why a file's name cannot be used in a prompt, or None if it can."""
    if file_name.isprintable():
        return None
    if any(map(is_control, file_name)):
        return "Its file name has characters that cannot be written in a prompt. Rename the file."
    return None


def outdated(trained_on_hash: str | None) -> str | None:
    """Say that vectors were made for a starter model of the past, or return None."""
    if trained_on_hash not in _EARLIER_STARTERS:
        return None
    return (
        "It was made for an earlier starter model, of 128 pixels, and means nothing to the one of "
        "today. Train it again."
    )
