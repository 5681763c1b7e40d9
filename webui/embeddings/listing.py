"""Which files lie in the folders: a quick look at names, sizes and dates, nothing is opened."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from webui.embeddings.index import Stamp, stamp_of
from webui.embeddings.sidecars import role_of

log = logging.getLogger(__name__)

Changes = dict[str, Stamp | None]
"""Paths of files that are new or different, with their stamps, or None for files that are gone."""


class Listing:
    """The files of concern as last taken in, by folder and stem."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self.links: set[str] = set()
        """Sub-folders that are links to somewhere else; they need watching of their own."""
        self._files: dict[str, dict[str, dict[str, Stamp]]] = {}
        self._places: dict[str, tuple[Path, str] | None] = {}
        self._lock = threading.RLock()

    def differences(self, top: str) -> Changes:
        """Compare ``top`` and all below with what was taken in; takes nothing in."""
        changes: Changes = {}
        links: set[str] = set()
        found = dict(_walk(top, links)) if self.root_of(top) else {}
        with self._lock:
            for folder, present in found.items():
                known = self._names(folder)
                for name, stamp in present.items():
                    if known.get(name) != stamp:
                        changes[os.path.join(folder, name)] = stamp
                for name in known.keys() - present.keys():
                    changes[os.path.join(folder, name)] = None
            for folder in self._files:
                if folder not in found and _within(folder, top):
                    gone = {os.path.join(folder, name): None for name in self._names(folder)}
                    changes.update(gone)
            self.links = {link for link in self.links if not _within(link, top)} | links
        return changes

    def take_in(self, path: str, stamp: Stamp | None) -> tuple[str, str] | None:
        """Note one file as it is now (None: gone); return its folder and stem if of concern."""
        folder, name = os.path.split(path)
        found = role_of(name)
        if found is None or self.root_of(folder) is None:
            return None
        with self._lock:
            group = self._files.setdefault(folder, {}).setdefault(found[0], {})
            if stamp is None:
                group.pop(name, None)
            else:
                group[name] = stamp
        return folder, found[0]

    def group(self, folder: str, stem: str) -> Mapping[str, Stamp]:
        """Return the files of one stem in one folder, as they are at this moment."""
        with self._lock:
            group = self._files.get(folder, {}).get(stem, {})
            if not group and folder in self._files:
                self._files[folder].pop(stem, None)
            return dict(group)

    def concerns(self, path: str) -> bool:
        """Say whether a path is that of a file of concern in one of the folders."""
        folder, name = os.path.split(path)
        return role_of(name) is not None and self.root_of(folder) is not None

    def root_of(self, folder: str) -> tuple[Path, str] | None:
        """Return the embeddings folder (the innermost) that a folder lies in, and its path in it.

        None for folders elsewhere and for hidden ones.
        """
        if folder not in self._places:
            roots = [root for root in self.folders if _within(folder, str(root))]
            root = max(roots, key=lambda root: len(str(root)), default=None)
            inside = folder[len(str(root)) :].strip(os.sep)
            hidden = any(part.startswith(".") for part in inside.split(os.sep))
            self._places[folder] = None if root is None or hidden else (root, inside)
        return self._places[folder]

    def _names(self, folder: str) -> dict[str, Stamp]:
        groups = self._files.get(folder, {})
        return {name: stamp for group in groups.values() for name, stamp in group.items()}


def look(path: str | Path) -> Stamp | None:
    """Return the stamp of a file, or None if there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return None if stat.S_ISDIR(status.st_mode) else stamp_of(status)


def _within(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip(os.sep) + os.sep)


def _walk(top: str, links: set[str]) -> Iterator[tuple[str, dict[str, Stamp]]]:
    """Yield each folder below ``top`` with its files of concern, no folder twice.

    Links to folders are followed last, so that a folder is known by its own path if it has one
    here; those that lead elsewhere are added to ``links``.
    """
    waiting, linked = [top], list[str]()
    visited = set[tuple[int, int]]()
    while waiting or linked:
        is_link = not waiting
        folder = linked.pop() if is_link else waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            if is_link and _within(os.path.realpath(top), os.path.realpath(folder)):
                log.warning("The link %s leads to a folder above and is not followed.", folder)
                continue
            if is_link:
                links.add(folder)
            present: dict[str, Stamp] = {}
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        (linked if entry.is_symlink() else waiting).append(entry.path)
                    elif role_of(entry.name) and (stamp := look(entry.path)):
                        present[entry.name] = stamp
            yield folder, present
        except FileNotFoundError:
            continue
        except OSError as fault:
            log.warning("Cannot look into the folder %s: %s", folder, fault)
