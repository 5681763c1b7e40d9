"""The text of a prompt without what is not part of it."""

from __future__ import annotations

import re
import unicodedata

_COMMENT = re.compile(r"(?<!\S)#(?!\ufe0f)[^\n]*")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return a prompt without comments, in the normal form (NFC) that CLIP's tokenizer reads.

    A comment runs from a ``#`` at the start of a word to the end of its line.
    """
    text = unicodedata.normalize("NFC", _SURROGATE.sub("\ufffd", text))
    return _COMMENT.sub("", text) if "#" in text else text
