"""Files written whole or not at all, paths held inside their folder, and hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from webui.errors import AppError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's errors that mean a full disk."""
TEMPORARY_SUFFIX = ".tmp"
"""Ending of files that are still being written; folder watchers ignore it."""


class Disk:
    """What is asked of the disk where it matters in which order things reach it.

    A test or a bench puts one in its place that is full, or that forgets at a power cut.
    """

    def create(self, folder: Path, name: str) -> Path:
        """Make an empty file beside the one called ``name``; return its path."""
        handle, path = tempfile.mkstemp(TEMPORARY_SUFFIX, f".{name[:40]}.", folder)
        os.close(handle)
        return Path(path)

    def make_folder(self, folder: Path) -> None:
        """Make a folder, and those that it lies in, so that they stay after a power cut."""
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            self.sync_folder(path.parent)

    def append(self, path: Path, data: bytes) -> None:
        """Write behind what is in a file, which is made if it is not there."""
        with open(path, "ab") as file:
            file.write(data)

    def sync(self, path: Path) -> None:
        """Return once the content of a file is on the disk."""
        with open(path, "rb+") as file:
            os.fsync(file.fileno())

    def replace(self, path: Path, target: Path) -> None:
        """Give a file another name, in place of the file that has it."""
        os.replace(path, target)

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in a folder are on the disk, where the system can say so."""
        if os.name == "posix":
            handle = os.open(folder, os.O_RDONLY)
            try:
                with suppress(OSError):  # some network folders cannot
                    os.fsync(handle)
            finally:
                os.close(handle)


disk = Disk()
"""The disk that everything is written to."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on a clean exit it takes ``path``'s place.

    Both the content and the name are on the disk on return. After a crash ``path`` holds either
    the old content or the new, never a part. On an exception nothing is left behind.
    """
    disk.make_folder(path.parent)
    temporary = disk.create(path.parent, path.name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        disk.sync(temporary)
        disk.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    disk.sync_folder(path.parent)


def append_whole(path: Path, data: bytes) -> None:
    """Write ``data`` behind what is in a file, all of it or nothing; a program that is killed
    meanwhile may leave a part. What is to outlast a power cut is synced after it."""
    size_bytes = path.stat().st_size if path.exists() else None
    try:
        disk.append(path, data)
    except OSError:
        with suppress(OSError):
            if size_bytes is None:
                path.unlink()
            else:
                os.truncate(path, size_bytes)
        raise


def move(path: Path, target: Path) -> None:
    """Give a file or a folder another name, also on another disk; it has it for good on return.

    Raises OSError, and then the old name stays.
    """
    _rename(path, target)
    for folder in {target.parent, path.parent}:
        disk.sync_folder(folder)


def move_all(moves: Sequence[tuple[Path, Path]], note: Path) -> None:
    """Give files other names, all or none of them, also if the program is killed meanwhile.

    ``note``, in a folder around them all, says until the end what is to be done, for
    ``finish_moves``. Raises OSError.
    """
    if len(moves) == 1:
        return move(*moves[0])
    home = note.parent
    noted = [[os.fspath(path.relative_to(home)) for path in pair] for pair in moves]
    write_whole(note, json.dumps(noted))
    done: list[tuple[Path, Path]] = []
    try:
        for path, target in moves:
            _rename(path, target)
            done.append((path, target))
    except OSError:
        for path, target in reversed(done):
            _rename(target, path)
        note.unlink(missing_ok=True)
        raise
    for folder in {path.parent for pair in moves for path in pair}:
        disk.sync_folder(folder)
    note.unlink(missing_ok=True)


def _rename(path: Path, target: Path) -> None:
    """Give a file or a folder another name; what goes to another disk is there whole before it
    is gone here. Raises OSError."""
    disk.make_folder(target.parent)
    try:
        disk.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if path.is_dir():
            _copy_folder(path, target)
            shutil.rmtree(path)
        else:
            with replacing(target) as temporary:
                shutil.copyfile(path, temporary)
            path.unlink()


def _copy_folder(path: Path, target: Path) -> None:
    """Copy the files below a folder; ``target`` is there whole or not at all."""
    unfinished = target.with_name(f".{target.name}{TEMPORARY_SUFFIX}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for file in (file for file in path.rglob("*") if file.is_file()):
            with replacing(unfinished / file.relative_to(path)) as temporary:
                shutil.copyfile(file, temporary)
        disk.replace(unfinished, target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def finish_moves(note: Path) -> None:
    """Carry out what is left of moves that were broken off; nothing where none were."""
    try:
        noted = json.loads(note.read_text())
        moves = [(contained(note.parent, a), contained(note.parent, b)) for a, b in noted]
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError, AppError):
        moves = []  # whoever wrote it, it was not this app
    for path, target in moves:
        if path.is_file() and not os.path.lexists(target):
            _rename(path, target)
    note.unlink(missing_ok=True)


@contextmanager
def room_on_disk() -> Iterator[None]:
    """Say in words that the disk is full, if that is what goes wrong in the ``with`` block."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise AppError("The disk is full. Make room and try again.") from error


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; never waits, as a pipe or a device would.

    Raises AppError for what is no regular file, OSError for what cannot be opened.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise AppError(f"{path.name} is no regular file.")
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def remove_older(folder: Path, age_s: float) -> None:
    """Remove the files below a folder that were changed longer ago than that; links too."""
    limit = time.time() - age_s
    for place, folders, names in os.walk(folder, topdown=False):
        for path in (Path(place, name) for name in names):
            with suppress(OSError):
                if path.lstat().st_mtime < limit:
                    path.unlink()
        for inner in folders:
            with suppress(OSError):  # not empty, or a link
                Path(place, inner).rmdir()


def write_whole(path: Path, content: bytes | str) -> None:
    """Write ``content`` (text as UTF-8) to ``path`` whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def contained(folder: Path, name: str) -> Path:
    """Return ``folder / name`` if it stays inside ``folder``, links resolved.

    Raises AppError for absolute names, ``..`` and links that lead outside.
    """
    root = folder.resolve()
    path = (root / name).resolve()
    if path == root or not path.is_relative_to(root):
        raise AppError(f"“{name}” lies outside the folder {folder.name}/.")
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 lower-case hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
