"""Disks that are full, or forget at a power cut, behind the interface of the app's own writers."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Mapping
from pathlib import Path

from webui.files import Disk

Names = Mapping[Path, int]
"""The files and folders below a root, each with its inode."""


class FullDisk(Disk):
    """Has no room from its ``full_at``-th operation on, until it is told to have room again."""

    def __init__(self, full_at: int) -> None:
        self.left = full_at

    def _use(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def create(self, folder: Path, name: str) -> Path:
        self._use()
        return super().create(folder, name)

    def make_folder(self, folder: Path) -> None:
        if not folder.exists():
            self._use()
        super().make_folder(folder)

    def append(self, path: Path, data: bytes) -> None:
        try:
            self._use()
        except OSError:
            super().append(path, data[: len(data) // 2])  # as much as there was room for
            raise
        super().append(path, data)

    def sync(self, path: Path) -> None:
        self._use()
        super().sync(path)


class PowerCut(BaseException):
    """Ends a program as a power cut does; nothing catches it."""


class ForgetfulDisk(Disk):
    """Remembers what has reached the disk for sure, and cuts the power at an operation.

    As journaling file systems do, names reach the disk in the order of their changes, some time
    after them and at the latest when a folder is synced; contents only when a file is synced.
    """

    def __init__(self, root: Path, cut_at: int) -> None:
        self.root, self.left = root, cut_at
        self._contents: dict[int, bytes] = {}
        self._appended: set[int] = set()
        self._possible: list[Names] = [{}]
        for path in root.rglob("*"):
            if path.is_file():
                self._contents[path.stat().st_ino] = path.read_bytes()
        self._names_synced()

    def create(self, folder: Path, name: str) -> Path:
        self._use()
        made = super().create(folder, name)
        self._contents.pop(made.stat().st_ino, None)  # it may have been another file's
        self._appended.discard(made.stat().st_ino)
        self._names_changed()
        return made

    def make_folder(self, folder: Path) -> None:
        self._use()
        super().make_folder(folder)
        self._names_changed()

    def append(self, path: Path, data: bytes) -> None:
        self._use()
        is_new = not path.exists()
        super().append(path, data)
        self._appended.add(path.stat().st_ino)
        if is_new:
            self._contents.pop(path.stat().st_ino, None)
            self._names_changed()

    def sync(self, path: Path) -> None:
        self._use()
        self._contents[path.stat().st_ino] = path.read_bytes()

    def replace(self, path: Path, target: Path) -> None:
        self._use()
        super().replace(path, target)
        self._names_changed()

    def sync_folder(self, folder: Path) -> None:
        self._use()
        self._names_synced()

    def after_power_cut(self, target: Path, chance: random.Random) -> None:
        """Write to a new folder what the disk may hold after the power came back."""
        self._names_changed()
        names = chance.choice(self._possible)
        live = {path.stat().st_ino: path for path in self.root.rglob("*") if path.is_file()}
        target.mkdir()
        for path, inode in sorted(names.items()):
            place = target / path
            if inode < 0:
                place.mkdir(exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            synced = self._contents.get(inode)
            now = live[inode].read_bytes() if inode in live else b""
            if inode in self._appended and synced is not None and now.startswith(synced):
                synced = now[: chance.randint(len(synced), len(now))]
            if synced is None:
                synced = chance.choice((b"", now[: chance.randint(0, len(now))], bytes(len(now))))
            place.write_bytes(synced)

    def _use(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PowerCut

    def _names_changed(self) -> None:
        self._possible.append(
            {
                path.relative_to(self.root): -1 if path.is_dir() else path.stat().st_ino
                for path in self.root.rglob("*")
            }
        )

    def _names_synced(self) -> None:
        self._names_changed()
        self._possible = self._possible[-1:]
