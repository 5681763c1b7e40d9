"""Hashes of LoRAs, and of checkpoints, which are remembered instead of read at each start."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from webui.files import sha256, write_whole
from webui.models.weights_file import open_weights
from webui.settings import Settings

log = logging.getLogger(__name__)

HASH_CACHE = Settings().cache_dir / "checkpoint-hashes.json"
"""Where hashes are remembered unless someone says otherwise."""
_SMALL = 64 << 20
"""Files of at most this many bytes are hashed in a moment, so they are not remembered."""


def short_hash(path: Path, cache: Path = HASH_CACHE) -> str:
    """Return the first 10 hex digits of a file's SHA-256, as AUTOMATIC1111 shows them.

    ``cache`` remembers the hash together with the file's size and time of change.
    """
    if known := known_short_hash(path, cache):
        return known
    log.info("Hashing %s; this is done once.", path.name)
    stamp = _stamp(path)
    digest = sha256(path)
    kept = {other: entry for other, entry in _read(cache).items() if Path(other).exists()}
    kept[str(path.resolve())] = {"stamp": stamp, "sha256": digest}
    try:
        write_whole(cache, json.dumps(kept, indent=1))
    except OSError as error:
        log.warning("%s could not be written: %s", cache, error)
    return digest[:10]


def known_short_hash(path: Path, cache: Path = HASH_CACHE) -> str | None:
    """Return the hash if it takes no time to know it, else None."""
    try:
        if path.stat().st_size <= _SMALL:
            return sha256(path)[:10]
        entry = _read(cache).get(str(path.resolve()), {})
        return str(entry["sha256"])[:10] if entry.get("stamp") == _stamp(path) else None
    except (OSError, KeyError):
        return None


def lora_hashes(path: Path) -> tuple[str, str]:
    """Return a LoRA's two hashes: that of its weights, 12 digits, and that of the file, 10.

    The former is what AUTOMATIC1111 writes as ``Lora hashes``: what Kohya's scripts noted in the
    file (``sshs_model_hash``), or else the SHA-256 of all that comes after the header, so that
    other notes in the file change nothing.
    """
    return _lora_hashes(path, *_stamp(path))


@lru_cache(maxsize=64)
def _lora_hashes(path: Path, size_bytes: int, changed_ns: int) -> tuple[str, str]:
    with open_weights(path) as weights:
        noted = weights.metadata.get("sshs_model_hash", "")
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    with open(path, "rb") as file:
        length = file.read(8)
        header = file.read(int.from_bytes(length, "little"))
        whole.update(length + header)
        while block := file.read(1 << 20):
            whole.update(block)
            tensors.update(block)
    weights_hash = noted if re.fullmatch("[0-9a-f]{64}", noted) else tensors.hexdigest()
    return weights_hash[:12], whole.hexdigest()[:10]


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(cache: Path) -> dict[str, dict[str, Any]]:
    """Return what is remembered; a missing or damaged file remembers nothing."""
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: entry for name, entry in content.items() if isinstance(entry, dict)}
