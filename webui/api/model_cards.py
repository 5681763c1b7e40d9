"""What the page's cards know of checkpoints and LoRAs, listed anew whenever it asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from webui.api.thumbnails import picture_answer
from webui.embeddings.sidecars import Notes, find_preview, read_notes, role_of
from webui.models.catalog import Checkpoint
from webui.models.download import in_words
from webui.prompting.editing.lora_calls import lora_call_text
from webui.prompting.loras import list_loras
from webui.studio.models_in_use import ModelState
from webui.studio.studio import Studio

FRESH = {"Cache-Control": "no-store"}
NO_CALL = "A prompt cannot name this file: its name must not contain “:”, “<” or “>”. Rename it."


def routes(studio: Studio) -> APIRouter:
    """Return ``/model-cards`` and ``/model-thumbnails?card=<key>``, pictures of those alone."""
    router = APIRouter()
    previews: dict[str, Path] = {}

    @router.get("/model-cards", include_in_schema=False)
    def model_cards() -> Response:
        sidecars = Sidecars()
        checkpoints = [
            _checkpoint(found, studio.models.state, sidecars)
            for found in studio.models.checkpoints()
        ]
        folder = lora_folder(studio)
        files = list_loras(folder)
        loras = [_lora(path, folder, files, sidecars) for path in sorted(set(files.values()))]
        previews.update(sidecars.previews)
        content = json.dumps({"checkpoints": checkpoints, "loras": loras})
        return Response(content, media_type="application/json", headers=FRESH)

    @router.get("/model-thumbnails", include_in_schema=False)
    def model_thumbnail(card: str) -> Response:
        if card not in previews:
            raise HTTPException(404, "There is no image of this.")
        return picture_answer(previews[card])

    return router


def lora_folder(studio: Studio) -> Path:
    """Return the folder of the LoRA files that prompts can call."""
    return studio.settings.models_dir / "lora"


def lora_names(path: Path, files: Mapping[str, Path]) -> list[str]:
    """Return the names that call a LoRA file, case folded; ``files`` are those of all files."""
    return sorted((name for name, found in files.items() if found == path), key=len)


def lora_call(path: Path, folder: Path, files: Mapping[str, Path]) -> str | None:
    """Return what a click on a LoRA's card writes, with the weight in the notes beside it.

    It has the file's name, and the folder's before it only where another file has that name too;
    None where no call can have the name.
    """
    return _call(path, folder, files, Sidecars())


def _call(path: Path, folder: Path, files: Mapping[str, Path], sidecars: Sidecars) -> str | None:
    whole = path.relative_to(folder).with_suffix("").as_posix()
    name = path.stem if files.get(path.stem.casefold()) == path else whole
    return lora_call_text(name, sidecars.notes(path.parent, path.stem).preferred_weight)


class Sidecars:
    """The sidecars of models; each folder is listed once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}
        self.previews: dict[str, Path] = {}
        """The pictures that were found, by the keys of their cards."""

    def notes(self, folder: Path, stem: str) -> Notes:
        return read_notes(folder, stem, self._names(folder, stem))

    def thumbnail(self, key: str, folder: Path, stem: str) -> str | None:
        """Return the address of a model's picture, which changes with the picture; or None."""
        name = find_preview(stem, self._names(folder, stem))
        try:
            status = (folder / name).stat() if name else None
        except OSError:
            status = None
        if name is None or status is None:
            return None
        self.previews[key] = folder / name
        stamp = f"{status.st_mtime_ns}-{status.st_size}"
        return f"model-thumbnails?card={quote(key, safe='', errors='replace')}&v={stamp}"

    def _names(self, folder: Path, stem: str) -> list[str]:
        if folder not in self._folders:
            groups: dict[str, list[str]] = {}
            for path in folder.iterdir():
                if path.is_file() and (role := role_of(path.name)):
                    groups.setdefault(role[0], []).append(path.name)
            self._folders[folder] = groups
        return self._folders[folder].get(stem, [])


def _checkpoint(found: Checkpoint, state: ModelState, sidecars: Sidecars) -> dict[str, Any]:
    path = found.path
    chosen = found.name == state.name and state.problem is None
    kind = "diffusers" if found.is_folder else path.suffix.removeprefix(".")
    said = ["Loading" if state.loading else "In use"] if chosen else []
    stem = path.name if found.is_folder else path.stem
    folder = found.name.rpartition("/")[0]
    return {
        **_common(found.name, path, stem, folder, sidecars),
        "name": found.name.rpartition("/")[2],
        "badges": [*said, kind],
        "used": chosen,
        "reason": state.problem if found.name == state.name else None,
    }


def _lora(
    path: Path, folder: Path, files: Mapping[str, Path], sidecars: Sidecars
) -> dict[str, Any]:
    inside = path.parent.relative_to(folder).as_posix()
    call = _call(path, folder, files, sidecars)
    return {
        **_common(str(path), path, path.stem, "" if inside == "." else inside, sidecars),
        "name": path.stem,
        "badges": ["LoRA"],
        "calls": lora_names(path, files),
        "reason": None if call else NO_CALL,
    }


def _common(key: str, path: Path, stem: str, folder: str, sidecars: Sidecars) -> dict[str, Any]:
    """Return what both kinds of cards have, in the words of the embeddings' cards."""
    notes = sidecars.notes(path.parent, stem)
    said = notes.published
    size_bytes, modified = _size_and_time(path)
    day = datetime.fromtimestamp(modified).strftime("%Y-%m-%d")
    return {
        "key": key,
        "folder": folder,
        "family": None,
        "about": f"{in_words(size_bytes)} · {day}",
        "note": None,
        "description": notes.description or said.name,
        "side": "",
        "content_hash": hashlib.sha256(key.encode(errors="replace")).hexdigest(),
        "added": modified,
        "modified": modified,
        "uses": 0,
        "size_bytes": size_bytes,
        "thumbnail": sidecars.thumbnail(key, path.parent, stem),
        "haystack": " ".join(
            (stem, folder, notes.description, notes.notes, *notes.tags, said.name, *said.words)
        ).lower(),
    }


def _size_and_time(path: Path) -> tuple[int, float]:
    """Return the bytes of a file, or of all in a folder, and when it was changed."""
    try:
        status = path.stat()
        if not path.is_dir():
            return status.st_size, status.st_mtime
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
        return sum(sizes), status.st_mtime
    except OSError:
        return 0, 0.0
