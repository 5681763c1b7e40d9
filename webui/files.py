"""Files written whole or not at all, paths held inside their folder, and hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from webui.errors import AppError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's errors that mean a full disk."""
TEMPORARY_SUFFIX = ".tmp"
"""Ending of files that are still being written; folder watchers ignore it."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on a clean exit it takes ``path``'s place.

    The temporary file is flushed to disk before the rename, so that after a crash ``path`` holds
    either the old content or the new, never a part. On an exception nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name[:40]}.", suffix=TEMPORARY_SUFFIX
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
