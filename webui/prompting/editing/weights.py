"""The weight of words, calls and LoRAs in a prompt, changed in its text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from webui.prompting.editing.spans import (
    WORD,
    Edit,
    Finder,
    Group,
    Written,
    groups_in,
    holds,
    read_written,
    span_of,
)
from webui.prompting.names import EmbeddingCall
from webui.prompting.schedule import Span

STEP, LORA_STEP = 0.1, 0.05
"""What one press of a key changes the weight of words and the strength of a LoRA by."""
_OWN_WEIGHT = re.compile(r"(?<=:)\s*([+-]?[.\d]+)\s*>$")
_STRENGTH = re.compile(r"(?<=[:=])\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*>$")
_KEYWORDS = ("AND", "BREAK")


def adjust_weight(text: str, start: int, end: int, steps: int, find: Finder) -> Edit | None:
    """Change the weight of what is selected, or of what is round the caret, by ``steps`` × 0.1.

    A call or a LoRA moves as a whole. A number of its own is changed, of LoRAs by 0.05; else that
    of the innermost brackets, ``(a)`` counting as 1.1 and ``[a]`` as 0.9; else there will be
    ``(a:1.1)``. A weight of 1 takes the brackets away. Returns None where nothing can be weighed.
    """
    written = read_written(text, find)
    start, end = _whole(written, start, end)
    own = _adjust_own_number(written, start, end, steps)
    if own is not None:
        return own
    group = _group_at(written, start, end)
    if group is None:
        span = (start, end) if start < end else _at_caret(written, start)
        if span is None or not _is_balanced(written, *span):
            return None
        around, inner, weight = span, span, 1.0
    else:
        around, inner = (group.start, group.end), (group.start + 1, group.inner_end)
        weight = group.weight or 1.0
    edits = _weighed(text, around, inner, weight + steps * STEP)
    return next((edit for edit in edits if _same_calls(written, edit, find)), None)


def set_weight(text: str, call: EmbeddingCall, weight: float) -> str:
    """Return a prompt with one of its calls weighed; a weight that it had is replaced."""
    start, end = span_of(call)
    written = text[start:end]
    if call.weight != 1:
        written = f"<embedding:{f'{call.folder}/' if call.folder else ''}{call.name}>"
    for group in groups_in(text, [(start, end)]):
        if text[group.start] == "(" and holds(text, group, start, end):
            start, end = group.start, group.end
            break
    return f"{text[:start]}({written}:{weight:g}){text[end:]}"


def _whole(written: Written, start: int, end: int) -> Span:
    """Return a selection without the blanks at its ends and with whole calls."""
    text = written.text
    chosen = text[start:end]
    if chosen.strip():
        start, end = end - len(chosen.lstrip()), start + len(chosen.rstrip())
        for first, last in written.whole:
            if first < end and start < last:
                start, end = min(start, first), max(end, last)
    else:
        start = end
    return start, end


def _adjust_own_number(written: Written, start: int, end: int, steps: int) -> Edit | None:
    """Change the number inside ``<lora:…>`` or ``<name:1.2>``; None where there is none."""
    text = written.text
    for first, last in written.loras:
        if first <= start and end <= last:
            tag = _with_strength(text[first:last], steps * LORA_STEP)
            return Edit(text[:first] + tag + text[last:], first, first + len(tag))
    for call in written.calls:
        own = _OWN_WEIGHT.search(text, call.start, call.end) if call.known else None
        if own and call.start <= start and end <= call.end:
            number = f"{round(call.weight + steps * STEP, 2):g}>"
            changed = text[: own.start()] + number
            return Edit(changed + text[call.end :], call.start, len(changed))
    return None


def _with_strength(tag: str, by: float) -> str:
    """Return ``<lora:name:0.8>`` with the last of its numbers changed; without any it has 1."""
    number = _STRENGTH.search(tag) if tag.count(":") > 1 else None
    if number is None:
        return f"{tag[:-1]}:{1 + by:.4g}>"
    return f"{tag[: number.start()]}{float(number[1]) + by:.4g}>"


def _group_at(written: Written, start: int, end: int) -> Group | None:
    """Return the brackets whose weight is meant, schedules left out; None if there are none."""
    weighing = [group for group in written.groups if group.weight is not None]
    if start < end:
        exact = (
            group
            for group in weighing
            if (group.start, group.end) == (start, end) or holds(written.text, group, start, end)
        )
        return next(exact, None)
    inside = next((group for group in weighing if group.start < start < group.end), None)
    if inside is None and _at_caret(written, start) is None:
        return next((group for group in weighing if start in (group.start, group.end)), None)
    return inside


def _at_caret(written: Written, caret: int) -> Span | None:
    """Return the call or the word that the caret is in or at; None if that cannot be weighed."""
    for call in written.calls:
        if call.start <= caret <= call.end:
            return span_of(call)
    if any(start < caret <= end for start, end in written.comments):
        return None
    words = [match.span() for match in WORD.finditer(written.text)]
    word = next(((start, end) for start, end in words if start <= caret <= end), None)
    if word is None or written.text[slice(*word)] in _KEYWORDS:
        return None
    return None if any(_is_when(written, group, word) for group in written.groups) else word


def _is_when(written: Written, group: Group, word: Span) -> bool:
    """Say whether a word is the number that ends a schedule."""
    if group.weight is not None or not group.start < word[0] < group.end:
        return False
    rest = written.text[group.start + 1 : group.inner_end].rpartition(":")[2]
    return word[1] <= group.inner_end and word[0] >= group.inner_end - len(rest)


def _is_balanced(written: Written, start: int, end: int) -> bool:
    """Say whether no pair of brackets has one inside a piece of text and one outside."""
    return all(
        (start <= group.start < end) == (start <= group.end - 1 < end) for group in written.groups
    )


def _weighed(text: str, around: Span, inner: Span, weight: float) -> Iterator[Edit]:
    """Yield the text with brackets of a weight in place of those there; without, if it is 1."""
    weight = round(weight, 2)
    words = text[slice(*inner)]
    before, after = text[: around[0]], text[around[1] :]
    if weight == 1:
        yield Edit(before + words + after, around[0], around[0] + len(words))
    changed = f"{before}({words}:{weight:g}){after}"
    yield Edit(changed, around[0] + 1, around[0] + 1 + len(words))


def _same_calls(before: Written, edit: Edit, find: Finder) -> bool:
    """Say whether a changed prompt still calls what it called."""
    after = read_written(edit.text, find)
    return _called(before) == _called(after)


def _called(written: Written) -> list[object]:
    return [
        *((call.name, call.known, call.folder) for call in written.calls),
        *(written.text[slice(*span)] for span in written.loras),
    ]
