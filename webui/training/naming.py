"""Names for new embeddings: what can be written in a prompt and told from ordinary words."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from webui.training.captions import tokens_of

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

LONGEST = 64
_ALLOWED = re.compile(r"[^\W_](?:[\w.-]*[\w-])?")
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{d}{n}" for d in ("com", "lpt") for n in range(10)}


def name_problem(
    name: str, tokenizer: CLIPTokenizer | None, in_use: Collection[str], overwrite: bool
) -> str | None:
    """Say in a sentence or two why an embedding cannot have this name, or None if it can.

    Without a tokenizer, ordinary words are not told apart.
    """
    if not name.strip():
        return "Give the embedding a name; it is what you will write in prompts."
    if len(name) > LONGEST:
        return f"The name is longer than {LONGEST} characters; choose a shorter one."
    if not _ALLOWED.fullmatch(name):
        return (
            "The name can hold letters, digits, hyphens, underscores and dots, and begins with a "
            "letter or digit: it becomes a file name and is written in prompts."
        )
    if name.split(".")[0].lower() in _RESERVED:
        return f"“{name}” is reserved by Windows; choose another name."
    if not overwrite and name.lower() in {other.lower() for other in in_use}:
        return f"There is an embedding “{name}” already. Choose another name, or overwrite it."
    if tokenizer is not None and len(tokens_of(tokenizer, name.lower())) == 1:
        return (
            f"“{name}” is an ordinary word of the model; every prompt with that word would change. "
            f"Choose a name of your own, such as “my-{name}”."
        )
    return None


def name_advice(name: str, tokenizer: CLIPTokenizer, in_use: Collection[str]) -> str | None:
    """Warn where one name begins with another, which some programs confuse in prompts."""
    ours = tokens_of(tokenizer, name.lower())
    if not ours:
        return None  # nothing is entered yet
    for other in sorted(in_use):
        theirs = tokens_of(tokenizer, other.lower())
        shorter = min(len(ours), len(theirs))
        if other.lower() != name.lower() and ours[:shorter] == theirs[:shorter]:
            return (
                f"“{name}” and the installed “{other}” begin alike; some programs take one for "
                "the other."
            )
    return None
