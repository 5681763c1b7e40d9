"""The prompt's X-ray: what it was understood as, piece by piece, while it is being typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from webui.prompting.chunks import CHUNK_TOKENS, Break, Insert, Item, Layout, Words
from webui.prompting.grammar import Attention
from webui.prompting.lookup import Lookup
from webui.prompting.loras import list_loras, missing_lora, take_loras, with_bundled
from webui.prompting.reader import Part, Reader
from webui.prompting.source import EmbeddingSource, PromptSettings
from webui.prompting.tokens import Tokens, tokens_of

if TYPE_CHECKING:
    from webui.libraries import CLIPTokenizer

MOST_STAGES = 6
"""Texts of a schedule that are shown one by one; the pieces of further ones are left out."""


@dataclass(frozen=True)
class Piece:
    """One piece of a prompt, in the order in which it acts."""

    kind: str
    """text, embedding, lora, break (a new chunk begins), and (a composed part begins) or steps
    (what follows holds for some steps only)."""
    text: str
    """As written; for break "BREAK", or "" where a chunk was full; for steps e.g. "steps 1–10"."""
    weight: float = 1.0
    """For and: how much the part's guidance counts."""
    vectors: int = 0
    """Token positions it takes."""
    name: str = ""
    """Of the embedding or LoRA."""
    missing: bool = False
    """Whether there is no LoRA of this name."""


@dataclass(frozen=True)
class XRay:
    """What a prompt was understood as."""

    used: int
    """Token positions in use, at the step and in the part that has most of them."""
    limit: int
    """75 for each chunk of the longest."""
    pieces: tuple[Piece, ...]
    warnings: tuple[str, ...]
    """What does not act as written, and what is worth knowing; whole sentences."""


def read(
    text: str,
    tokenizer: CLIPTokenizer,
    embeddings: EmbeddingSource,
    widths: Mapping[str, int],
    model_name: str,
    settings: PromptSettings = PromptSettings(),  # noqa: B008 - frozen
    steps: int = 20,
    negative: bool = False,
    loras: Path | None = None,
    beside: str = "",
) -> XRay:
    """Read a prompt for a model whose text encoders take vectors of these widths.

    ``loras`` is the folder of LoRA files, if they are to be looked for. ``beside`` is the prompt of
    a negative prompt: its LoRAs may bring embeddings for both.
    Computes no conditioning; takes about a millisecond whatever the number of embeddings. Never
    raises for any text.
    """
    tokens = tokens_of(tokenizer)
    _, calls, _ = take_loras(beside if negative else text)
    files = list_loras(loras) if loras and calls else {}
    embeddings = with_bundled(embeddings, calls, files)
    lookup = Lookup(embeddings, widths, model_name, load=False)
    reader = Reader(tokens, lookup, settings)
    if negative and reader.whole_negative(text):
        [name] = reader.used
        piece = Piece("embedding", name, vectors=CHUNK_TOKENS, name=name)
        return XRay(CHUNK_TOKENS, CHUNK_TOKENS, (piece,), lookup.warnings)
    script = reader.script(text, max(1, steps), negative)
    pieces: list[Piece] = []
    layouts: list[Layout] = []
    brackets: list[str] = []
    for number, part in enumerate(script.parts):
        if len(script.parts) > 1:
            pieces.append(Piece("and", "AND" if number else "", part.weight))
        for heading, stage_text in _distinct(part):
            reading = reader.read(stage_text)
            layouts.append(reading.layout)
            if len(layouts) == 1:
                brackets = list(_bracket_warnings(reading.attention))
            if heading:
                pieces.append(Piece("steps", heading))
            pieces += _pieces(reading.items, reading.layout.starts, tokens)
    for lora in script.loras:
        missing = loras is not None and lora.name.casefold() not in files
        pieces.append(Piece("lora", lora.name, lora.unet, name=lora.name, missing=missing))
        if missing:
            lookup.warn(missing_lora(lora.name, files))
    lookup.look_for_broken_names(reader.words)
    lookup.look_for_near_misses(reader.words, tokens)
    return XRay(
        used=max(layout.used for layout in layouts),
        limit=max(layout.limit for layout in layouts),
        pieces=tuple(pieces),
        warnings=(*lookup.warnings, *brackets, *lookup.remarks),
    )


def _distinct(part: Part) -> Iterator[tuple[str, str]]:
    """Yield the texts of a part once each, with the steps they hold for, in words."""
    steps: dict[str, list[str]] = {}
    first = 1
    for stage in part.stages:
        span = f"{first}" if first == stage.last_step else f"{first}–{stage.last_step}"
        steps.setdefault(stage.text, []).append(span)
        first = stage.last_step + 1
    for text, spans in list(steps.items())[:MOST_STAGES]:
        word = "step" if len(spans) == 1 and spans[0].isdigit() else "steps"
        shown = ", ".join(spans[:4]) + (", …" if len(spans) > 4 else "")
        yield (f"{word} {shown}" if len(steps) > 1 else ""), text


def _pieces(items: Sequence[Item], starts: Sequence[int], tokens: Tokens) -> Iterator[Piece]:
    """Yield what the items are, with a break wherever a chunk of the layout begins."""
    position = 0
    ahead = list(starts[:0:-1])
    for item in items:
        if isinstance(item, Break):
            if ahead and ahead[-1] == position:
                ahead.pop()
            yield Piece("break", "BREAK")
            continue
        count = len(item)
        if isinstance(item, Insert):
            while ahead and ahead[-1] <= position:
                ahead.pop()
                yield Piece("break", "")
            yield Piece("embedding", item.name, item.weight, count, item.name)
        else:
            yield from _cut(item, position, ahead, tokens)
        position += count


def _cut(item: Words, position: int, ahead: list[int], tokens: Tokens) -> Iterator[Piece]:
    """Yield words in as many pieces as chunks they lie in."""
    letters: list[int] = []
    first = done = 0
    while ahead and ahead[-1] < position + len(item.ids):
        token = ahead.pop() - position
        letters = letters or tokens.starts(item.text)
        letter = letters[token] if token < len(letters) else len(item.text)
        if token > first:
            yield Piece("text", item.text[done:letter], item.weight, token - first)
        yield Piece("break", "")
        first, done = token, letter
    if item.text[done:].strip():
        yield Piece("text", item.text[done:], item.weight, len(item.ids) - first)


def _bracket_warnings(attention: Attention) -> Iterator[str]:
    if attention.unclosed:
        yield (
            f"{_count(attention.unclosed, 'bracket')} opened and not closed; the weight reaches "
            "to the end of the prompt."
        )
    if attention.unopened:
        yield (
            f"{_count(attention.unopened, 'bracket')} closed and not opened; read as text. "
            r"Write \( and \) for brackets that are text."
        )


def _count(number: int, noun: str) -> str:
    return f"1 {noun} is" if number == 1 else f"{number} {noun}s are"
