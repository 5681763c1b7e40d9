"""LoRAs' calls put into a prompt and taken out of it; everything else stays.

They stand behind the prompt, as AUTOMATIC1111 puts them, for where they stand changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from webui.prompting.editing.calls import joined
from webui.prompting.editing.spans import Edit, Written, read_written
from webui.prompting.loras import take_loras
from webui.prompting.schedule import Span


def lora_call_text(name: str, weight: float | None = None) -> str | None:
    """Return ``<lora:name:1>`` for a file's name; None if no call can have this name."""
    tag = f"<lora:{name}:{weight or 1:g}>"
    return tag if _name_in(tag) == name else None


def insert_lora(text: str, start: int, end: int, call: str) -> Edit:
    """Put a LoRA's call behind the prompt; what is selected stays selected.

    A comment that the prompt ends with keeps its line to itself.
    """
    comments = _read(text).comments
    if comments and comments[-1][1] == len(text):
        between = "\n"
    else:
        between = "" if not text or text[-1].isspace() else " "
    return Edit(text + between + call, start, end)


def remove_lora(text: str, caret: int, called: Callable[[str], bool]) -> Edit | None:
    """Take out the call of a LoRA that the caret is in or behind, or else the first one.

    One comma or blank beside it goes too. ``called`` says whether a name in a call is the LoRA's.
    Returns None if the text does not call it.
    """
    spans = [span for span in _read(text).loras if _is_called(text, span, called)]
    if not spans:
        return None
    start, end = next((span for span in reversed(spans) if span[0] < caret), spans[0])
    before, after = joined(text[:start], text[end:])
    if before == text[:start] and before.endswith(" ") and (not after or after[0] == "\n"):
        before = before[:-1]
    left = len(text) - len(after)
    place = caret - (left - len(before)) if caret >= left else min(caret, len(before))
    return Edit(before + after, place, place)


def _read(text: str) -> Written:
    return read_written(text, lambda bare: [])


def _is_called(text: str, span: Span, called: Callable[[str], bool]) -> bool:
    name = _name_in(text[slice(*span)])
    return name is not None and called(name)


def _name_in(tag: str) -> str | None:
    """Return the name in one LoRA call; None if the text is anything else."""
    rest, calls, _ = take_loras(tag)
    return calls[0].name if not rest and len(calls) == 1 else None
