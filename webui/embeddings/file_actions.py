"""Changes to the files that people ask for: add, rename, throw away and put back.

Names come from a page or an API and are hostile: they are checked, and every path is held inside
its embeddings folder, links resolved, before anything is touched.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from webui.embeddings import formats
from webui.errors import AppError, BadField
from webui.files import FULL, contained, finish_moves, move_all, replacing
from webui.plain_text import is_control
from webui.reader_process import Reader

TRASH = ".trash"
"""Sub-folder of each embeddings folder that deleted files are moved to."""
NOTE = ".moves.json"
"""File in an embeddings folder that says what is being moved."""
MAX_NAME = 100


def check_name(name: str) -> str:
    """Return ``name`` if a file may be called so on every system. Raises BadField."""
    if not name or not name.strip():
        raise BadField("name", "The name is empty. Give the embedding a name.")
    if len(name) > MAX_NAME or len(name.encode(errors="replace")) > 200:
        raise BadField("name", f"The name is too long; at most {MAX_NAME} characters.")
    if name[0] == "." or name[-1] == "." or name != name.strip():
        raise BadField("name", f"“{name}” must not begin or end with a dot or a space.")
    if any(map(is_control, name)):
        raise BadField("name", "The name has control characters. Type it anew.")
    if found := re.search(r'[/\\<>:"|?*]', name):
        raise BadField("name", f"“{name}” must not contain “{found[0]}”. Leave it out.")
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name.lower()):
        raise BadField("name", f"“{name}” is reserved by Windows. Choose another name.")
    return name


def path_for(folder: Path, name: str, suffix: str) -> Path:
    """Return the path for a checked name at the top of a folder."""
    contained(folder, check_name(name) + suffix)
    return folder / (name + suffix)


def check_inside(root: Path, path: Path) -> None:
    """Raise AppError if a file's folder, links resolved, is not inside its embeddings folder."""
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise AppError(
            f"“{path.name}” lies in a linked folder outside {root.name}/ and is only used from "
            "there. Change it where it is."
        )


def add(source: Path, name: str, folder: Path, reader: Reader) -> Path:
    """Inspect ``source`` and copy it whole into ``folder`` under ``name``; return its path.

    The ending follows the content. Raises AppError, with the reader's reasons for a bad file.
    """
    with os_errors_as_app_errors(source):
        found = formats.inspect(source, False, reader)
    path = path_for(folder, name, _suffix(source, found.format))
    _refuse_taken(path)
    with os_errors_as_app_errors(path), replacing(path) as temporary:
        shutil.copyfile(source, temporary)
        formats.inspect(temporary, False, reader)
    return path


def rename(root: Path, paths: Iterable[Path], stem: str, new_stem: str) -> list[Path]:
    """Rename an embedding's files, which begin with ``stem``; return the new paths.

    A file that begins otherwise is the second of two that diffusers wrote; it becomes ``…_2``.
    """
    check_name(new_stem)
    moves = []
    for path in paths:
        check_inside(root, path)
        ending = path.name[len(stem) :] if path.name.startswith(stem) else "_2" + path.suffix
        target = path.with_name(new_stem + ending)
        if target.name.casefold() != path.name.casefold():
            _refuse_taken(target)
        moves.append((path, target))
    return _move(root, moves)


def move(root: Path, paths: Iterable[Path], folder: str) -> list[Path]:
    """Move an embedding's files to a sub-folder of ``root`` ("" is its top); return the new paths.

    Raises BadField for a folder that may not be called so.
    """
    parts = [part for part in folder.split("/") if part.strip()]
    for part in parts:
        try:
            check_name(part)
        except BadField as error:
            raise BadField("folder", str(error)) from error
    if parts:
        contained(root, "/".join(parts))
    target = root.joinpath(*parts)
    moves = []
    for path in paths:
        check_inside(root, path)
        _refuse_taken(target / path.name)
        moves.append((path, target / path.name))
    return _move(root, moves)


def throw_away(root: Path, paths: Iterable[Path]) -> str:
    """Move files to the trash of their embeddings folder; return the token to undo it with."""
    token = secrets.token_hex(8)
    moves = []
    for path in paths:
        check_inside(root, path)
        moves.append((path, root / TRASH / token / path.relative_to(root)))
    _move(root, moves)
    return token


def put_back(roots: Sequence[Path], token: str) -> list[Path]:
    """Move the files of one ``throw_away`` back; return their paths. Raises AppError."""
    if re.fullmatch(r"[0-9a-f]{16}", token):
        for root in roots:
            trash = root / TRASH / token
            if trash.is_dir():
                thrown = [path for path in sorted(trash.rglob("*")) if not path.is_dir()]
                moves = [(path, root / path.relative_to(trash)) for path in thrown]
                for _, target in moves:
                    _refuse_taken(target)
                put = _move(root, moves)
                shutil.rmtree(trash, ignore_errors=True)
                return put
    raise AppError("The deleted files are no longer in the trash folder.")


def empty_trash(roots: Sequence[Path], older_than_s: float) -> None:
    """Remove for good what was thrown away longer ago than that."""
    for root in roots:
        for thrown in (root / TRASH).glob("*"):
            if re.fullmatch(r"[0-9a-f]{16}", thrown.name) and not thrown.is_symlink():
                if time.time() - thrown.lstat().st_ctime > older_than_s:
                    shutil.rmtree(thrown, ignore_errors=True)


@contextmanager
def os_errors_as_app_errors(path: Path) -> Iterator[None]:
    """Turn a fault of the file system inside the ``with`` block into words for people."""
    try:
        yield
    except OSError as fault:
        if fault.errno in FULL:
            raise AppError("The disk is full. Make room and try again.") from fault
        raise AppError(f"“{path.name}”: {fault.strerror or fault}.") from fault


def finish_broken_off(roots: Iterable[Path]) -> None:
    """Finish what was being renamed or moved when the app was killed."""
    for root in roots:
        with suppress(OSError):
            finish_moves(root / NOTE)


def _move(root: Path, moves: list[tuple[Path, Path]]) -> list[Path]:
    """Move all files or none; return where they went. Raises AppError."""
    if moves:
        with os_errors_as_app_errors(moves[0][0]):
            move_all(moves, root / NOTE)
    return [target for _, target in moves]


def _refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise BadField("name", f"There is already a file {path.name}. Choose another name.")


def _suffix(source: Path, described: str) -> str:
    """Return the ending that suits the content: the file's own if it fits, else the usual one."""
    own = source.suffix.lower()
    if described.endswith(" picture"):
        return own if own in formats.PICTURE_SUFFIXES else ".png"
    if described.endswith(".safetensors"):
        return ".safetensors"
    return own if own in (".pt", ".bin") else ".pt"
