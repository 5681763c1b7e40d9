"""What CivitAI knows of the embeddings: asked by their hashes, only when someone presses for it."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from webui.embeddings.cards import Card
from webui.embeddings.library import EmbeddingLibrary
from webui.embeddings.sidecars import CIVITAI, NOTHING_PUBLISHED
from webui.errors import AppError
from webui.files import sha256
from webui.images import open_picture
from webui.plain_json import bounded_json

log = logging.getLogger(__name__)

BY_HASH = "/api/v1/model-versions/by-hash"
"""Takes a list of SHA-256 and returns the versions of models whose files have them."""
MOST_HASHES = 100
"""Of one request."""
PATIENCE_S = 30.0
MOST_BYTES = 16 << 20
"""Of one answer."""
MOST_ITEMS = 500_000
"""Values in one answer."""
PICTURES = "image.civitai.com"
"""The only other machine that is asked: for a preview where there is none."""


@dataclass(frozen=True)
class LookupState:
    """How the look-up stands that was asked for last."""

    version: int = 0
    """Grows with each change."""
    running: bool = False
    asked: int = 0
    """Files whose hashes were sent so far."""
    total: int = 0
    """Files to be asked about."""
    found: int = 0
    problem: str | None = None
    """Why it ended early."""


class CivitaiLookup:
    """Asks CivitAI about files that have no sidecar of it yet, and writes what it says there."""

    def __init__(self, library: EmbeddingLibrary, address: str = CIVITAI) -> None:
        """``address`` is CivitAI's, or that of a machine that answers like it."""
        self._library, self._address = library, address
        self._lock = threading.Lock()
        self._state = LookupState()
        self._stopped = False

    @property
    def state(self) -> LookupState:
        """The look-up as it stands now."""
        return self._state

    def start(self) -> None:
        """Start to ask, in the background, about all files that were not found before."""
        cards = {card.path: card for card in self._library.snapshot().cards if _is_unknown(card)}
        with self._lock:
            if self._state.running:
                return
            version = self._state.version + 1
            self._state = LookupState(version, running=True, total=len(cards))
        threading.Thread(
            target=self._run, args=(list(cards.values()),), name="civitai", daemon=True
        ).start()

    def stop(self) -> None:
        """Ask nothing more."""
        self._stopped = True

    def _run(self, cards: list[Card]) -> None:
        problem = None
        try:
            with httpx.Client(timeout=PATIENCE_S, follow_redirects=False) as client:
                for start in range(0, len(cards), MOST_HASHES):
                    if self._stopped:
                        return
                    self._ask(client, cards[start : start + MOST_HASHES])
        except AppError as error:
            problem = str(error)
        except Exception:
            log.exception("Looking up on CivitAI failed.")
            problem = "The look-up ended with an unexpected error; the log says more."
        finally:
            self._set(running=False, problem=problem)

    def _ask(self, client: httpx.Client, cards: list[Card]) -> None:
        """Ask about some files and write what is known of them. Raises AppError."""
        by_hash = {}
        for card in cards:
            try:
                by_hash[sha256(card.path).upper()] = card
            except OSError as fault:
                log.warning("%s could not be read: %s", card.path, fault)
        answer = _answered(client, "POST", self._address + BY_HASH, list(by_hash))
        try:
            found = bounded_json(answer, MOST_ITEMS)
        except ValueError as fault:
            raise AppError("CivitAI's answer could not be read. Try later.") from fault
        for version in found if isinstance(found, list) else ():
            for digest in _hashes(version):
                if digest in by_hash:
                    card = by_hash.pop(digest)
                    self._library.save_published(card, version)
                    self._set(found=self._state.found + 1)
                    if card.preview is None:
                        self._fetch_preview(client, card, version)
        self._set(asked=self._state.asked + len(cards))

    def _fetch_preview(self, client: httpx.Client, card: Card, version: Mapping[str, Any]) -> None:
        """Make CivitAI's first harmless picture the preview; without one nothing changes."""
        for image in _list(version.get("images")):
            url = image.get("url") if isinstance(image, dict) else None
            if not isinstance(url, str) or image.get("nsfwLevel", 1) != 1:
                continue
            if urlsplit(url).hostname not in (PICTURES, urlsplit(self._address).hostname):
                continue
            try:
                data = _answered(client, "GET", url)
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "preview"
                    path.write_bytes(data)
                    self._library.set_preview(card.name, open_picture(path), card.path)
            except AppError as error:
                log.warning("No preview of %s: %s", card.name, error)
            return

    def _set(self, **changes: Any) -> None:
        with self._lock:
            self._state = replace(self._state, version=self._state.version + 1, **changes)


def _is_unknown(card: Card) -> bool:
    """Whether there may be more to know of a card's file than lies beside it."""
    known = card.notes.published != NOTHING_PUBLISHED
    return not (known or card.inside) and bool(card.short_hash)  # too large a file has none


def _answered(client: httpx.Client, method: str, url: str, content: Any = None) -> bytes:
    """Return the body of an answer of a bounded size. Raises AppError."""
    try:
        with client.stream(method, url, json=content) as answer:
            if answer.status_code != 200:
                raise AppError(f"CivitAI answered with an error ({answer.status_code}). Try later.")
            data = b""
            for part in answer.iter_bytes():
                data += part
                if len(data) > MOST_BYTES:
                    raise AppError("CivitAI's answer is larger than it can be.")
            return data
    except httpx.HTTPError as fault:
        raise AppError("CivitAI cannot be reached. Look at the network and try again.") from fault


def _hashes(version: Any) -> Iterator[str]:
    """Yield the SHA-256 of a version's files, in capitals."""
    files = version.get("files") if isinstance(version, dict) else None
    for file in _list(files):
        hashes = file.get("hashes") if isinstance(file, dict) else None
        digest = hashes.get("SHA256") if isinstance(hashes, dict) else None
        if isinstance(digest, str):
            yield digest.upper()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
