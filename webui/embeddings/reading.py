"""From a file to the facts on its card; whatever is wrong with it becomes its problem."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

from webui.embeddings import formats
from webui.embeddings.index import Facts
from webui.embeddings.listing import look

log = logging.getLogger(__name__)


class StillChanging(Exception):
    """The file was written to while it was being read."""


def read_facts(path: Path) -> Facts:
    """Read one file. Raises StillChanging if it did not hold still; OSError if it is gone."""
    before = look(path)
    try:
        found = formats.inspect(path)
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
        first = found.embeddings[0]
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
        )
    if look(path) != before:
        raise StillChanging
    return facts


def name_problem(file_name: str) -> str | None:
    """Say why a file's name cannot be used in a prompt, or None if it can."""
    if file_name.isprintable():
        return None
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in file_name):
        return "Its file name has characters that cannot be written in a prompt. Rename the file."
    return None


def as_text(name: str) -> str:
    """Return a file name as text that can be encoded; bytes that are no UTF-8 become ``?``."""
    return name.encode("utf-8", errors="replace").decode()
