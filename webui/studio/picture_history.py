"""Which embeddings the saved pictures were made with, learned from the pictures themselves."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from webui.generation.metadata.infotext import embedding_hashes, read_infotext
from webui.generation.outputs import read_parameters

_SETTLED_NS = 2 * 10**9


@dataclass(frozen=True)
class Used:
    """One saved picture and the embeddings in it."""

    path: Path
    modified: float
    """Seconds since 1970."""
    embeddings: Mapping[str, str]
    """Names, case folded, with the short hash of the file each one had then."""


@dataclass(frozen=True)
class Listing:
    """What lay in a folder when it had last changed."""

    changed_ns: int
    pictures: Mapping[str, float]
    """Paths and when they were changed, seconds since 1970."""
    folders: tuple[str, ...]


class PictureHistory:
    """Keeps what the pictures below a folder say; looks only at what is new. Safe from any thread.

    An embedding is recognised by its name, or by its file's hash if it was renamed since.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._listings: dict[str, Listing] = {}
        self._known: dict[str, Used] = {}
        self._by_key: dict[str, set[str]] = defaultdict(set)
        self.version = 0
        """A number that grows with each change."""

    def look(self) -> None:
        """Take in pictures that came and went; costs next to nothing where no folder changed.

        Returns at once while another thread is at it.
        """
        if not self._looking.acquire(blocking=False):
            return
        try:
            found = dict(self._files(str(self._folder)))
            gone = {path for path, used in self._known.items() if found.get(path) != used.modified}
            fresh = [path for path in found if path not in self._known or path in gone]
            read = [Used(Path(path), found[path], _embeddings_in(Path(path))) for path in fresh]
            if gone or fresh:
                self._replace(gone, read)
        finally:
            self._looking.release()

    def newest(self) -> Path | None:
        """Return the picture that was saved last, or None."""
        with self._lock:
            last = max(self._known.values(), key=lambda used: used.modified, default=None)
            return last.path if last else None

    def made_with(self, name: str, short_hash: str) -> list[Path]:
        """Return the pictures made with an embedding, the newest first."""
        with self._lock:
            used = [self._known[path] for path in self._paths(name, short_hash)]
        return [one.path for one in sorted(used, key=lambda one: one.modified, reverse=True)]

    def uses(self, name: str, short_hash: str) -> int:
        """Return in how many pictures an embedding is."""
        with self._lock:
            return len(self._paths(name, short_hash))

    def _paths(self, name: str, short_hash: str) -> set[str]:
        nobody: set[str] = set()
        by_hash = self._by_key.get(f"#{short_hash}", nobody) if short_hash else nobody
        return self._by_key.get(name.casefold(), nobody) | by_hash

    def _replace(self, gone: Iterable[str], fresh: Iterable[Used]) -> None:
        with self._lock:
            for path in gone:
                for key in _keys(self._known.pop(path).embeddings):
                    self._by_key[key].discard(path)
            for used in fresh:
                self._known[str(used.path)] = used
                for key in _keys(used.embeddings):
                    self._by_key[key].add(str(used.path))
            self.version += 1

    def _files(self, folder: str) -> Iterator[tuple[str, float]]:
        """Yield the pictures below a folder and when they were changed."""
        try:
            changed_ns = os.stat(folder).st_mtime_ns
        except OSError:
            self._listings.pop(folder, None)
            return
        listing = self._listings.get(folder)
        if listing is None or listing.changed_ns != changed_ns:
            listing = _list(folder, changed_ns)
            # A folder that changed just now may change again without its time showing it.
            if time.time_ns() - changed_ns > _SETTLED_NS:
                self._listings[folder] = listing
        yield from listing.pictures.items()
        for inner in listing.folders:
            yield from self._files(inner)


def _list(folder: str, changed_ns: int) -> Listing:
    """Return what lies in a folder; links are not followed, hidden things left out."""
    pictures, folders = {}, []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.name.lower().endswith(".png") and entry.is_file(follow_symlinks=False):
                pictures[entry.path] = entry.stat().st_mtime
    return Listing(changed_ns, pictures, tuple(folders))


def _keys(embeddings: Mapping[str, str]) -> Iterable[str]:
    for name, digest in embeddings.items():
        yield name
        if digest:
            yield f"#{digest}"


def _embeddings_in(path: Path) -> dict[str, str]:
    """Return what a picture's parameters say; nothing for pictures that cannot be read."""
    try:
        text = read_parameters(path)
    except Exception:  # somebody may have put any file there; Pillow raises all sorts
        return {}
    _, settings = read_infotext(text or "")
    return {name.casefold(): digest for name, digest in embedding_hashes(settings).items()}
