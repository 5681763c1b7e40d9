"""From a file to the facts on its card; whatever is wrong with it becomes its problem."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from webui.embeddings import formats
from webui.embeddings.embedding import Embedding
from webui.embeddings.file_actions import check_name
from webui.embeddings.index import Facts, Inside
from webui.embeddings.listing import look
from webui.errors import BadField
from webui.plain_text import as_text, is_control

log = logging.getLogger(__name__)


class StillChanging(Exception):
    """The file was written to while it was being read."""


def read_facts(path: Path, inspect: formats.Inspect) -> tuple[Facts, dict[str, Embedding]]:
    """Read one file; also return its embeddings by the names that call them.

    Raises StillChanging if it did not hold still; OSError if it is gone.
    """
    before = look(path)
    named: dict[str, Embedding] = {}
    try:
        found = inspect(path, True)
    except formats.NoEmbedding:
        facts = Facts(plain_picture=True)
    except formats.Refused as refused:
        facts = Facts(problem=refused.reason, short_hash=refused.short_hash)
    except FileNotFoundError:
        raise
    except OSError as fault:
        facts = Facts(problem=f"It cannot be opened: {fault.strerror or fault}.")
    except Exception:
        log.exception("Unexpected fault while reading %s", path)
        facts = Facts(problem="It could not be read because of an unexpected error; see the log.")
    else:
        named = by_name(as_text(path.stem), found.embeddings)
        first, *others = named.values()
        inner_name = first.inner_name
        if len(found.embeddings) > 1:
            inner_name = f"{inner_name} (first of {len(found.embeddings)} in the file)"
        facts = Facts(
            widths=first.widths,
            vectors=len(first),
            step=first.step,
            trained_on=first.trained_on,
            trained_on_hash=first.trained_on_hash,
            inner_name=inner_name,
            short_hash=found.short_hash,
            content_hash=first.content_hash,
            format=found.format,
            kind=first.kind,
            inside=tuple(
                Inside(one.name, one.widths, len(one), one.content_hash) for one in others
            ),
        )
    if look(path) != before:
        raise StillChanging
    return facts, named


def by_name(stem: str, embeddings: Sequence[Embedding]) -> dict[str, Embedding]:
    """Return the embeddings of a file by what calls them, the first by the file's own name.

    Where there are several, each is called by its placeholder too, without the brackets round it;
    one that is no name, such as ``*``, gives way to the file's name and a number.
    """
    named = {stem: replace(embeddings[0], name=stem)}
    taken = {stem.casefold()}
    for number, embedding in enumerate(embeddings if len(embeddings) > 1 else (), start=1):
        name = _placeholder_name(embedding.inner_name)
        if name is None or name.casefold() in taken:
            if number == 1:
                continue
            name = f"{stem}-{number}"
        if name.casefold() not in taken:
            taken.add(name.casefold())
            named[name] = replace(embedding, name=name)
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
