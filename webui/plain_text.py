"""Text from strangers as text that can be shown: no half characters, no controls of a terminal."""

from __future__ import annotations

import logging
import unicodedata

TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows, so that it reads as something else."""


def as_text(name: str) -> str:
    """Return a file name as text that can be encoded; bytes that are no UTF-8 become ``?``."""
    return name if name.isascii() else name.encode("utf-8", errors="replace").decode()


def is_control(character: str) -> bool:
    """Whether a character is not seen itself but does something to others, or to a terminal."""
    return character in TURNING or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def shown(text: str) -> str:
    """Return text with its lines and tabs, but without other controls and half characters."""
    if text.isprintable():
        return text
    kept = (c for c in as_text(text) if c in "\n\t" or not is_control(c))
    return "".join(kept)


class PlainFormatter(logging.Formatter):
    """Writes records for a terminal; controls in names and messages are written as ``\\x1b``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        text = super().format(record)
        if text.isprintable():
            return text
        return "".join(
            c.encode("unicode_escape").decode() if c not in "\n\t" and is_control(c) else c
            for c in text
        )
