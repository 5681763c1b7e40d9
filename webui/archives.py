"""Zip files of strangers: what is in them is unpacked within limits, and never outside a folder."""

from __future__ import annotations

import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from webui.errors import AppError
from webui.files import contained

ENDING = ".zip"
MOST_FILES = 4000
MOST_BYTES = 2 << 30
"""Of all files together, unpacked."""
_PIECE = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


def is_archive(path: Path) -> bool:
    """Say whether a file is called like an archive."""
    return path.suffix.lower() == ENDING


@contextmanager
def as_folder(place: Path, endings: Collection[str]) -> Iterator[Path]:
    """Yield a folder as it is, and for an archive a folder with its files of these ``endings``,
    which is gone after the ``with`` block. Raises AppError as ``unpack``."""
    if not (is_archive(place) and place.is_file()):
        yield place
        return
    with tempfile.TemporaryDirectory() as folder:
        unpack(place, Path(folder), endings)
        yield Path(folder)


def unpacked_beside(archive: Path, endings: Collection[str]) -> Path:
    """Return the folder beside an archive with its files; they are unpacked at the first time."""
    folder = archive.with_name(f"{archive.stem}.files")
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=archive.parent) as temporary:
            made = Path(temporary) / folder.name
            made.mkdir()
            unpack(archive, made, endings)
            if not folder.is_dir():
                made.rename(folder)
    return folder


def unpack(archive: Path, into: Path, endings: Collection[str]) -> None:
    """Write the files of an archive below a folder, with the folders that they lie in.

    Files with other ``endings`` (in small letters) and hidden ones are passed over; so is a folder
    around all other folders. Raises AppError for what is no archive, has a password, names a place
    outside, or is larger than ``MOST_FILES`` and ``MOST_BYTES``.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {
                PurePosixPath(info.filename.replace("\\", "/")): info
                for info in opened.infolist()
                if not info.is_dir()
            }
            wanted = {
                path: info
                for path, info in members.items()
                if path.suffix.lower() in endings and not any(_hidden(part) for part in path.parts)
            }
            if len(wanted) > MOST_FILES:
                raise AppError(f"{archive.name} has more than {MOST_FILES} files.")
            outer = {path.parts[0] for path in wanted}
            around = len(outer) == 1 and outer.isdisjoint({"/", ".."})
            if around and all(len(path.parts) > 2 for path in wanted):
                wanted = {PurePosixPath(*path.parts[1:]): info for path, info in wanted.items()}
            room = MOST_BYTES
            for path, info in wanted.items():
                target = contained(into, path.as_posix())
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(info) as source, open(target, "xb") as copy:
                    while piece := source.read(_PIECE):
                        if (room := room - len(piece)) < 0:
                            raise AppError(
                                f"{archive.name} holds more than {MOST_BYTES >> 30} GiB."
                            )
                        copy.write(piece)
    except _DAMAGED as problem:
        raise AppError(f"{archive.name} is no zip file, or it is damaged.") from problem
    except RuntimeError as problem:  # zipfile's word for a password
        raise AppError(f"{archive.name} has a password; make one without.") from problem
    except (FileExistsError, NotADirectoryError) as problem:
        raise AppError(f"{archive.name} holds two files of one name.") from problem
    except OSError as problem:
        if problem.errno is not None:
            raise
        raise AppError(f"{archive.name} is damaged.") from problem  # bzip2's way to say so


def _hidden(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part != "..")
