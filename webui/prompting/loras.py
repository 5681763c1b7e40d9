"""What is taken out of a prompt before it is read: comments and LoRAs' calls; their files."""

from __future__ import annotations

import difflib
import logging
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from webui.embeddings import formats
from webui.embeddings.embedding import Embedding
from webui.prompting.source import EmbeddingSource, Overlay
from webui.reader_process import shared_reader

log = logging.getLogger(__name__)

COMMENT = re.compile(r"(?<!\S)#(?!\ufe0f)[^\n]*")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TAG = re.compile(r"<(\w{1,40}):([^<>\n]{1,300})>")
_LORA_KINDS = {"lora", "lyco", "locon"}
_UNKNOWN_KINDS = {"hypernet"}


@dataclass(frozen=True)
class LoraCall:
    """One ``<lora:name:te:unet>``."""

    name: str
    """File name without its extension, inside ``models/lora/``."""
    text_encoder: float
    """Strength on the text encoders; usual range -1 to 1."""
    unet: float
    """Strength on the UNet; usual range -1 to 1."""


def clean(text: str) -> str:
    """Return a prompt without comments, in the normal form (NFC) that CLIP's tokenizer reads.

    A comment runs from a ``#`` at the start of a word to the end of its line.
    """
    text = unicodedata.normalize("NFC", _SURROGATE.sub("\ufffd", text))
    return COMMENT.sub("", text) if "#" in text else text


def take_loras(text: str) -> tuple[str, tuple[LoraCall, ...], list[str]]:
    """Return the clean text without its LoRA calls, the calls, and warnings in whole sentences.

    ``<lora:name>``, ``<lora:name:strength>``, ``<lora:name:te:unet>`` and the named forms
    ``te=`` and ``unet=`` are understood, as in AUTOMATIC1111. Of several calls of one LoRA the
    last counts. A call whose strength is not a number stays in the text; one in a comment is
    left out with the comment.
    """
    text = clean(text)
    if "<" not in text:
        return text, (), []
    calls: dict[str, LoraCall] = {}
    warnings: list[str] = []

    def take(match: re.Match[str]) -> str:
        kind = match[1].lower()
        if kind in _UNKNOWN_KINDS:
            warnings.append(f"“{match[0]}” was left out: hypernetworks are not supported.")
            return " "
        if kind not in _LORA_KINDS:
            return match[0]
        call = _read_call(match[2])
        if call is None:
            warnings.append(f"“{match[0]}” was left as text: its strength is not a number.")
            return match[0]
        if call.name in calls:
            warnings.append(f"The LoRA “{call.name}” is called twice; the last call counts.")
        calls[call.name] = call
        return ""

    return _TAG.sub(take, text), tuple(calls.values()), warnings


def lora_spans(text: str) -> list[tuple[int, int]]:
    """Return where the calls that ``take_loras`` takes out stand in a clean text."""
    return [
        match.span()
        for match in _TAG.finditer(text)
        if match[1].lower() in _UNKNOWN_KINDS
        or (match[1].lower() in _LORA_KINDS and _read_call(match[2]) is not None)
    ]


def list_loras(folder: Path) -> dict[str, Path]:
    """Return the LoRA files below ``folder`` by their lower-case names without extension."""
    found: dict[str, Path] = {}
    if folder.is_dir():
        for path in sorted(folder.rglob("*.safetensors"), reverse=True):
            found[path.stem.casefold()] = path
            found[path.relative_to(folder).with_suffix("").as_posix().casefold()] = path
    return found


def missing_lora(name: str, files: Mapping[str, Path]) -> str:
    """Say that there is no LoRA of this name, and which one may have been meant."""
    near = difflib.get_close_matches(name.casefold(), files, n=1)
    hint = f"; did you mean “{files[near[0]].stem}”?" if near else " in models/lora/."
    return f"There is no LoRA “{name}”{hint}"


def with_bundled(
    source: EmbeddingSource, calls: Iterable[LoraCall], files: Mapping[str, Path]
) -> EmbeddingSource:
    """Return a collection with the embeddings beside it that the called LoRAs bring along.

    As in AUTOMATIC1111 an embedding of the collection comes before one of the same name in a LoRA.
    """
    called = [path for call in calls if (path := files.get(call.name.casefold()))]
    states = ((path, path.stat()) for path in called if path.is_file())
    bringing = tuple(
        (path, status.st_mtime_ns, status.st_size)
        for path, status in states
        if _bundled(path, status.st_mtime_ns, status.st_size)
    )
    return _overlay(source, bringing) if bringing else source


@lru_cache(maxsize=8)
def _overlay(source: EmbeddingSource, bringing: tuple[tuple[Path, int, int], ...]) -> Overlay:
    """Return the one overlay of a collection with these files, so that caches know it again."""
    return Overlay(source, [embedding for file in bringing for embedding in _bundled(*file)])


@lru_cache(maxsize=32)
def _bundled(path: Path, mtime_ns: int, size_bytes: int) -> tuple[Embedding, ...]:
    """Return the embeddings in a LoRA file as it is now; none from a file that is broken."""
    try:
        return formats.read_bundle(path, shared_reader())
    except formats.Refused as fault:
        log.warning("%s", fault)
        return ()


def _read_call(arguments: str) -> LoraCall | None:
    name, *rest = arguments.split(":")
    positional = [item for item in rest if "=" not in item]
    named = {
        key.strip().lower(): value
        for key, _, value in (item.partition("=") for item in rest if "=" in item)
    }
    try:
        both = float(positional[0]) if positional else 1.0
        text_encoder = float(named.get("te", both))
        unet = float(named.get("unet", positional[1] if len(positional) > 1 else text_encoder))
    except ValueError:
        return None
    if not (math.isfinite(text_encoder) and math.isfinite(unet)):
        return None
    return LoraCall(name.strip(), text_encoder, unet)
