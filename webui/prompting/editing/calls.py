"""Calls put into a prompt and taken out of it; everything else stays, character by character.

What stands where is decided by the rules that read the prompt for drawing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from webui.prompting.editing.spans import WORD, Edit, Finder, Written, holds, read_written, span_of
from webui.prompting.names import EmbeddingCall, NameIndex, find_calls
from webui.prompting.schedule import Span

_BRACKETS = re.compile(r"([()\[\]\\])")
_OPENING, _CLOSING = "\n([|:", "\n)]|:"


def call_text(name: str, explicit_only: bool = False, weight: float | None = None) -> str:
    """Return what calls an embedding: its name with brackets escaped, or ``<name>``.

    ``<name>`` stands for names that are ordinary words (``explicit_only``) and for those that
    would not be understood by themselves. With a weight other than 1 it is ``(name:0.8)``.
    """
    written = _BRACKETS.sub(r"\\\1", name)
    if explicit_only or not _is_understood(written, name):
        written = f"<{name}>"
    return written if weight in (None, 1) else f"({written}:{weight:g})"


def _is_understood(written: str, name: str) -> bool:
    if written.replace("_", "").isalnum():
        return True
    index = NameIndex([name])
    read = read_written(written, lambda text: find_calls(text, index, lambda found: True))
    return [span_of(call) for call in read.calls] == [(0, len(written))]


def insert(text: str, start: int, end: int, name: str, call: str, find: Finder) -> Edit:
    """Put a call in the place of what is selected, or at the caret as an item of its own.

    A caret in a word, a call or a comment moves out of it. ``remove`` gives the text back as it
    was before the call. Where the call would not be understood, it becomes ``<name>``.
    """
    base = text[:start] + text[end:]
    if start < end:
        edit = _put(base, start, "", "", call)
        if remove(edit.text, edit.start, name, find) is not None:
            return edit
    places = list(_places(read_written(base, find), start))
    edits = [_put(base, *place, written) for written in (call, f"<{name}>") for place in places]
    for edit in edits:
        back = remove(edit.text, edit.start, name, find)
        if back is not None and back.text == base:
            return edit
    return edits[0]


def remove(text: str, caret: int, name: str, find: Finder) -> Edit | None:
    """Take out the call of an embedding that the caret is in or behind, or else the first one.

    Brackets that hold nothing else go with it, and so does one comma or blank beside it. Returns
    None if the text does not call the embedding.
    """
    written = read_written(text, find)
    calls = [call for call in written.calls if call.known and call.name == name]
    if not calls:
        return None
    call = next((call for call in reversed(calls) if call.start < caret), calls[0])
    start, end = _with_brackets(written, call)
    inside = "".join(
        text[first:last] + ("\n" if (first, last) in written.comments else "")
        for first, last in sorted((*written.loras, *written.comments))
        if call.start <= first and last <= call.end
    )
    before, after = joined(text[:start], text[end:])
    return Edit(before + inside + after, len(before), len(before))


def toggle(text: str, start: int, end: int, name: str, call: str, find: Finder) -> Edit:
    """Take the embedding's call out of the text, or put it in if it is not there."""
    return remove(text, start, name, find) or insert(text, start, end, name, call, find)


def _places(written: Written, caret: int) -> Iterator[tuple[int, str, str]]:
    """Yield places for a call near the caret, each with what goes before and behind the call."""
    text = written.text
    for start, end in written.whole:
        if start < caret < end:
            caret = end
    if word := next((m for m in WORD.finditer(text) if m.start() < caret < m.end()), None):
        caret = word.end()
    line = text.find("\n", caret)
    for place in dict.fromkeys((caret, len(text) if line < 0 else line, len(text))):
        yield from _separators(text, place)
    yield 0, "", ", "


def _separators(text: str, place: int) -> Iterator[tuple[int, str, str]]:
    """Yield what makes a call an item of its own at a place: one comma at most, or none."""
    before, after = text[:place], text[place:]
    if before.endswith(",") and not after.startswith(" "):
        yield place - 1, ", ", ""
    if not before.endswith(", ") and (not before or before[-1] in _OPENING or before[-1] == " "):
        if not after or after[0] in _CLOSING:
            yield place, "", ""
        yield place, "", ", "
    if before.endswith(", "):
        yield place, "", ", "
    yield place, ", ", ""


def _put(base: str, place: int, lead: str, tail: str, call: str) -> Edit:
    before = f"{base[:place]}{lead}{call}{tail}"
    caret = len(before) + (lead == ", " and base[place : place + 1] == ",")
    return Edit(before + base[place:], caret, caret)


def joined(before: str, after: str) -> tuple[str, str]:
    """Return what stands on both sides of a gap without one of the commas or blanks beside it."""
    if after.startswith(", "):
        return before, after[2:]
    if before.endswith(", "):
        return before[:-2], after
    if after.startswith(",") and (not before or before[-1] in "," + _OPENING):
        return before, after[1:]
    if before.endswith(",") and (not after or after[0] in _CLOSING):
        return before[:-1], after
    if before.endswith(" ") and after.startswith(" "):
        return before, after[1:]
    return before, after


def _with_brackets(written: Written, call: EmbeddingCall) -> Span:
    """Return where a call stands with the brackets that hold nothing else."""
    start, end = span_of(call)
    for group in written.groups:
        if holds(written.text, group, start, end):
            start, end = group.start, group.end
    return start, end
