"""The small files beside an embedding: previews and notes, in the form that A1111 uses."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from webui.embeddings.formats import PICTURE_SUFFIXES, VECTOR_SUFFIXES
from webui.errors import AppError
from webui.files import TEMPORARY_SUFFIX, open_regular, write_whole
from webui.plain_json import bounded_json
from webui.plain_text import shown

log = logging.getLogger(__name__)

PREVIEW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif")
"""Endings of preview pictures, in the order in which they are preferred."""
MAX_NOTES_BYTES = 1 << 20
MAX_VALUES = 100_000
MAX_TAGS = 64
MAX_NAME = 300

Role = Literal["vectors", "picture", "preview", "measured", "notes"]
MEASURED_SUFFIX = ".measured.jpg"
"""Ends the name of the contact sheet of the last measuring."""


CIVITAI_SUFFIX, MATRIX_SUFFIX = ".civitai.info", ".cm-info.json"
"""End the names of what CivitAI says of a file: those of A1111's extensions, StabilityMatrix's."""
CIVITAI = "https://civitai.com"
MAX_PUBLISHED_BYTES = 4 << 20


@dataclass(frozen=True)
class Published:
    """What CivitAI says of an embedding. All of it is hostile until shown as text."""

    name: str = ""
    """Of the model and of its version."""
    words: tuple[str, ...] = ()
    """Trigger words."""
    base_model: str = ""
    """What it is made for, in CivitAI's words, e.g. ``SD 1.5``."""
    model_id: int = 0
    version_id: int = 0

    @property
    def link(self) -> str:
        """The address of its page, "" if that is not known."""
        version = f"?modelVersionId={self.version_id}" if self.version_id else ""
        return f"{CIVITAI}/models/{self.model_id}{version}" if self.model_id else ""


NOTHING_PUBLISHED = Published()


@dataclass(frozen=True)
class Notes:
    """What people wrote about an embedding. All of it is hostile until shown as text."""

    description: str = ""
    notes: str = ""
    preferred_weight: float | None = None
    """Weight to insert it with, usually 0.5 to 1.5; None means 1."""
    side: str = ""
    """"positive", "negative" or "" where nothing is said."""
    explicit_only: bool = False
    """Whether only ``<embedding:name>`` calls it, never the bare word."""
    tags: tuple[str, ...] = ()
    published: Published = NOTHING_PUBLISHED
    """From other files beside it; not for people to change."""


@lru_cache(maxsize=50_000)
def role_of(file_name: str) -> tuple[str, Role] | None:
    """Return the stem a file belongs to and its part, or None for files of no concern.

    ``a.preview.png`` belongs to ``a``; hidden and temporary files belong to nothing.
    """
    if file_name.startswith(".") or file_name.lower().endswith(TEMPORARY_SUFFIX):
        return None
    for ending in (CIVITAI_SUFFIX, MATRIX_SUFFIX):
        if file_name.lower().endswith(ending):
            return file_name[: -len(ending)], "notes"
    stem, suffix = os.path.splitext(file_name)
    suffix = suffix.lower()
    if suffix in VECTOR_SUFFIXES:
        return stem, "vectors"
    if suffix in PREVIEW_SUFFIXES or suffix in PICTURE_SUFFIXES:
        for ending in (".preview", ".thumb"):
            if stem.lower().endswith(ending):
                return stem[: -len(ending)], "preview"
        if file_name.lower().endswith(MEASURED_SUFFIX):
            return file_name[: -len(MEASURED_SUFFIX)], "measured"
        return stem, "picture"
    if suffix == ".json":
        return stem, "notes"
    if suffix == ".txt":
        return stem.removesuffix(".description"), "notes"
    return None


def find_preview(stem: str, file_names: Collection[str]) -> str | None:
    """Return the preview among the files of one stem, as A1111 looks for it, or None."""
    pictures = (name for name in file_names if name.lower().endswith(PREVIEW_SUFFIXES))
    lower = {name.lower(): name for name in pictures}
    if not lower:
        return None
    for suffix in PREVIEW_SUFFIXES:
        for middle in ("", ".preview", ".thumb"):
            if found := lower.get(f"{stem.lower()}{middle}{suffix}"):
                return found
    return None


def read_notes(folder: Path, stem: str, file_names: Collection[str]) -> Notes:
    """Read the notes among the files of one stem; unreadable ones count as empty."""
    description = ""
    for name in (f"{stem}.txt", f"{stem}.description.txt"):
        if name in file_names:
            description = _text(_read(folder / name)) or description
    values = _read_json(folder / f"{stem}.json") if f"{stem}.json" in file_names else {}
    side = str(values.get("side", "")).lower()
    tags = values.get("tags")
    return Notes(
        published=_read_published(folder, stem, file_names),
        description=_text(values.get("description")) or description,
        notes=_text(values.get("notes")),
        preferred_weight=_weight(values.get("preferred weight")),
        side=side if side in ("positive", "negative") else "",
        explicit_only=values.get("explicit only") is True,
        tags=tuple(shown(tag) for tag in tags[:MAX_TAGS] if isinstance(tag, str))
        if isinstance(tags, list)
        else (),
    )


def _read_published(folder: Path, stem: str, file_names: Collection[str]) -> Published:
    """Read what CivitAI says among the files of one stem; its own answer goes before others'."""
    for ending, read in ((CIVITAI_SUFFIX, _of_civitai), (MATRIX_SUFFIX, _of_matrix)):
        name = next((name for name in file_names if name.lower() == f"{stem}{ending}".lower()), "")
        found = read(_read_json(folder / name, MAX_PUBLISHED_BYTES)) if name else NOTHING_PUBLISHED
        if found != NOTHING_PUBLISHED:
            return found
    return NOTHING_PUBLISHED


def _of_civitai(values: Mapping[str, Any]) -> Published:
    """Read CivitAI's answer about a model's version."""
    model = values.get("model")
    name = model.get("name") if isinstance(model, dict) else ""
    return _published(
        (name, values.get("name")),
        values.get("trainedWords"),
        values.get("baseModel"),
        (values.get("modelId"), values.get("id")),
    )


def _of_matrix(values: Mapping[str, Any]) -> Published:
    """Read what StabilityMatrix keeps of it."""
    return _published(
        (values.get("ModelName"), values.get("VersionName")),
        values.get("TrainedWords"),
        values.get("BaseModel"),
        (values.get("ModelId"), values.get("VersionId")),
    )


def _published(names: Sequence[Any], words: Any, base_model: Any, ids: Sequence[Any]) -> Published:
    model_id, version_id = (
        given if isinstance(given, int) and 0 < given < 1 << 63 else 0 for given in ids
    )
    said = [_text(word) for word in words[:MAX_TAGS]] if isinstance(words, list) else []
    return Published(
        " ".join(filter(None, map(_text, names)))[:MAX_NAME],
        tuple(filter(None, said)),
        _text(base_model)[:MAX_NAME],
        model_id,
        version_id,
    )


def save_published(folder: Path, stem: str, answer: Mapping[str, Any]) -> Path:
    """Write CivitAI's answer about a file beside it, where other programs look for it too."""
    path = folder / (stem + CIVITAI_SUFFIX)
    write_whole(path, json.dumps(answer, indent=4, ensure_ascii=False))
    return path


def save_notes(folder: Path, stem: str, notes: Notes) -> Path:
    """Write notes to ``<stem>.json``, keeping what other programs have written there.

    ``description``, ``notes`` and ``preferred weight`` are A1111's own keys. Returns the path;
    raises AppError for a side or weight that makes no sense.
    """
    if notes.side not in ("", "positive", "negative"):
        raise AppError(f"“{notes.side}” is not a side; choose positive, negative or neither.")
    if notes.preferred_weight is not None and _weight(notes.preferred_weight) is None:
        raise AppError("The preferred weight must be a number between -10 and 10.")
    return _add(
        folder / f"{stem}.json",
        {
            "description": notes.description,
            "notes": notes.notes,
            "preferred weight": notes.preferred_weight or 0,
            "side": notes.side,
            "explicit only": notes.explicit_only,
            "tags": list(notes.tags),
        },
    )


def save_measured(folder: Path, stem: str, figures: Mapping[str, Any], sheet: bytes) -> list[Path]:
    """Write what was measured into the notes, and its contact sheet (JPEG) beside them."""
    image = folder / (stem + MEASURED_SUFFIX)
    write_whole(image, sheet)
    return [image, _add(folder / f"{stem}.json", {"measured": dict(figures)})]


def read_measured(folder: Path, stem: str) -> tuple[dict[str, Any], Path | None]:
    """Return what was measured last and its contact sheet, if there are; hostile."""
    figures = _read_json(folder / f"{stem}.json").get("measured")
    sheet = folder / (stem + MEASURED_SUFFIX)
    return (figures if isinstance(figures, dict) else {}), sheet if sheet.is_file() else None


def _add(path: Path, values: Mapping[str, Any]) -> Path:
    """Write values into a JSON file and keep the others there."""
    kept = _read_json(path) if path.exists() else {}
    write_whole(path, json.dumps({**kept, **values}, indent=4, ensure_ascii=False))
    return path


def _read(path: Path, most_bytes: int = MAX_NOTES_BYTES) -> str:
    try:
        with open_regular(path) as file:
            return file.read(most_bytes).decode("utf-8-sig", errors="replace")
    except FileNotFoundError:
        return ""
    except (AppError, OSError) as fault:
        log.warning("Cannot read the notes %s: %s", path, fault)
        return ""


def _read_json(path: Path, most_bytes: int = MAX_NOTES_BYTES) -> dict[str, Any]:
    try:
        values = bounded_json(_read(path, most_bytes).encode() or b"{}", MAX_VALUES)
    except ValueError:
        log.warning("The notes %s are not JSON and were ignored.", path)
        return {}
    return values if isinstance(values, dict) else {}


def _text(value: Any) -> str:
    return shown(value).strip() if isinstance(value, str) else ""


def _weight(value: Any) -> float | None:
    """Return a weight, or None for none; A1111 writes 0 for none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value and abs(value) <= 10 else None
