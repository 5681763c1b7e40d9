"""Training pictures: whatever people have, read safely and listed."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from webui.errors import AppError
from webui.files import open_regular, sha256
from webui.images import open_picture, size_of

MINIMUM, MAXIMUM = 3, 15
"""How many pictures a concept is learned from."""
MAX_PIXELS_IN_ALL = 400_000_000
"""Of the pictures of a concept together; they are held in memory, 3 bytes a pixel."""
HOLD_OUT_FROM = 5
"""Number of pictures from which one can be spared, to tell learning from memorising."""
HOW_MANY = f"{MINIMUM} to {MAXIMUM}"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_COUNTED = re.compile(r"\d+_")
_BACKDROP = (128, 128, 128)


@dataclass(frozen=True, eq=False)
class Picture:
    """One training picture as it was read."""

    path: Path
    image: Image.Image
    """RGB, upright."""
    mask: Image.Image | None
    """L, as large as the image: 255 where it counts; None where all of it does."""
    sha256: str
    """Of the file's bytes."""
    text: str
    """The text file beside it, or else its name without leading digits, as captions use it."""
    has_text_file: bool


ReadPicture = Callable[[Path, Path | None], Picture]
"""Returns the picture of a file and of its text file, if that does not lie beside it."""


def read_picture(path: Path, caption: Path | None = None) -> Picture:
    """Read a picture upright and in RGB, its transparency as a mask.

    ``caption`` is its text file, where that does not lie beside it. Takes any mode and depth; the
    first frame of an animation. Raises AppError, naming the file, for what is not a picture, is
    damaged, too large or fully transparent.
    """
    image, mask = open_picture(path), None
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
        if not alpha.getbbox():
            raise AppError(f"{path.name} is fully transparent: there is nothing to learn from.")
        if alpha.getcolors(1) != [(image.width * image.height, 255)]:
            mask = alpha
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKDROP), image)
    return Picture(path, image.convert("RGB"), mask, sha256(path), *_text_of(path, caption))


class PictureCache:
    """Keeps pictures as they were read, for as long as their files stay as they are.

    On its way from an upload to the latents a picture is asked for many times; it is decoded and
    hashed once. Those used last are kept, up to ``budget_bytes`` of pixels. Threads may share it.
    """

    def __init__(self, budget_bytes: int = 3 * MAX_PIXELS_IN_ALL) -> None:
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[tuple[Any, ...], Picture] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path, caption: Path | None = None) -> Picture:
        """Return a picture; as ``read_picture``. Its text is read anew each time."""
        stamp = _stamp(path)
        with self._lock:
            known = self._kept.get(stamp)
            if known is None:
                known = read_picture(path, caption)
            self._keep(stamp, known)
        text, has_text_file = _text_of(path, caption)
        return replace(known, text=text, has_text_file=has_text_file)

    def copied(self, picture: Picture, copy: Path) -> None:
        """Know the copy of a picture's file as well, without reading it."""
        with self._lock:
            self._keep(_stamp(copy), replace(picture, path=copy))

    def _keep(self, stamp: tuple[Any, ...], picture: Picture) -> None:
        self._kept[stamp] = picture
        self._kept.move_to_end(stamp)
        images = {id(item.image): item.image for item in self._kept.values()}
        size_bytes = sum(3 * image.width * image.height for image in images.values())
        while size_bytes > self._budget_bytes and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            if all(item.image is not gone.image for item in self._kept.values()):
                size_bytes -= 3 * gone.image.width * gone.image.height


def _stamp(path: Path) -> tuple[Any, ...]:
    """Return what changes when a file does; only the path if there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return (path,)
    return (path, found.st_ino, found.st_size, found.st_mtime_ns)


def _text_of(path: Path, caption: Path | None) -> tuple[str, bool]:
    """Return what captions say of a picture, and whether a text file says it."""
    text_file = caption or path.with_suffix(".txt")
    if text_file.is_file():
        return _read_text(text_file), True
    return path.stem.lstrip("-_ 0123456789").strip(), False


def pair_captions(files: Sequence[Path]) -> tuple[list[tuple[Path, Path | None]], list[Path]]:
    """Return the pictures among files, each with the text file of its name among them, if any.

    The text files of no picture's name come second. Uploads lie each in a folder of its own, so
    that captions are not beside their pictures.
    """
    texts = {path.stem: path for path in files if path.suffix.lower() == ".txt"}
    pictures = [path for path in files if path.suffix.lower() != ".txt"]
    stems = {path.stem for path in pictures}
    unused = [path for stem, path in texts.items() if stem not in stems]
    return [(path, texts.get(path.stem)) for path in pictures], unused


def _read_text(path: Path) -> str:
    with open_regular(path) as file:
        return " ".join(file.read(4096).decode("utf-8-sig", errors="replace").split())


def find_pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the pictures of a folder in order of their names, and the files that are skipped.

    If there are none, those of its sub-folders named like ``20_cat`` count, as Kohya's scripts
    have them. Raises AppError if there is no such folder.
    """
    if not folder.is_dir():
        raise AppError(f"There is no folder {folder}.")
    found, skipped = _pictures_directly_in(folder)
    if not found:
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and _COUNTED.match(inner.name):
                more, other = _pictures_directly_in(inner)
                found, skipped = found + more, skipped + other
    return found, skipped


def _pictures_directly_in(folder: Path) -> tuple[list[Path], list[Path]]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    texts = {path.with_suffix(".txt") for path in pictures}
    return pictures, [path for path in files if path not in texts and path not in pictures]


def read_pictures(files: Sequence[Path], read: ReadPicture = read_picture) -> list[Picture]:
    """Read as many pictures as training takes, with the captions among the files.

    One AppError tells of every file that cannot be used.
    """
    paired, _ = pair_captions(files)
    if len(paired) > MAXIMUM:
        raise AppError(count_problem(len(paired)))
    pictures, problems, pixels = [], [], 0
    for path, caption in paired:
        try:
            width, height = size_of(path)
            if (pixels := pixels + width * height) > MAX_PIXELS_IN_ALL:
                problems.append(
                    f"With {path.name} the images have more than "
                    f"{MAX_PIXELS_IN_ALL // 1_000_000} million pixels; make them smaller."
                )
                break
            pictures.append(read(path, caption))
        except AppError as problem:
            problems.append(str(problem))
    if len(paired) < MINIMUM:
        problems.append(count_problem(len(paired)))
    if problems:
        raise AppError(" ".join(problems))
    return pictures


def count_problem(count: int) -> str:
    """Say what is wrong with this number of pictures."""
    have = (
        "There are no images"
        if not count
        else "There is 1 image"
        if count == 1
        else (f"There are {count} images")
    )
    advice = "Add more" if count < MINIMUM else "Keep the best ones"
    return f"{have}; training takes {HOW_MANY}. {advice}."
