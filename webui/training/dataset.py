"""Training pictures: whatever people have, read safely and listed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from webui.errors import AppError
from webui.files import open_regular, sha256
from webui.images import open_picture, size_of

MINIMUM, MAXIMUM = 3, 15
"""How many pictures a concept is learned from."""
MAX_PIXELS_IN_ALL = 400_000_000
"""Of the pictures of a concept together; they are held in memory, 3 bytes a pixel."""
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


def read_picture(path: Path) -> Picture:
    """Read a picture upright and in RGB, its transparency as a mask.

    Takes any mode and depth; the first frame of an animation. Raises AppError, naming the file,
    for what is not a picture, is damaged, too large or fully transparent.
    """
    image, mask = open_picture(path), None
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
        low, high = alpha.getextrema()
        if high == 0:
            raise AppError(f"{path.name} is fully transparent: there is nothing to learn from.")
        if low < 255:
            mask = alpha
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKDROP), image)
    text_file = path.with_suffix(".txt")
    has_text = text_file.is_file()
    text = _read_text(text_file) if has_text else path.stem.lstrip("-_ 0123456789").strip()
    return Picture(path, image.convert("RGB"), mask, sha256(path), text, has_text)


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


def read_pictures(paths: Sequence[Path]) -> list[Picture]:
    """Read 3 to 15 pictures; one AppError tells of every file that cannot be used."""
    if len(paths) > MAXIMUM:
        raise AppError(count_problem(len(paths)))
    pictures, problems, pixels = [], [], 0
    for path in paths:
        try:
            width, height = size_of(path)
            if (pixels := pixels + width * height) > MAX_PIXELS_IN_ALL:
                problems.append(
                    f"With {path.name} the pictures have more than "
                    f"{MAX_PIXELS_IN_ALL // 1_000_000} million pixels; make them smaller."
                )
                break
            pictures.append(read_picture(path))
        except AppError as problem:
            problems.append(str(problem))
    if len(paths) < MINIMUM:
        problems.append(count_problem(len(paths)))
    if problems:
        raise AppError(" ".join(problems))
    return pictures


def count_problem(count: int) -> str:
    """Say what is wrong with this number of pictures."""
    have = (
        "There are no pictures"
        if not count
        else "There is 1 picture"
        if count == 1
        else (f"There are {count} pictures")
    )
    advice = "Add more" if count < MINIMUM else "Keep the best ones"
    return f"{have}; training takes {MINIMUM} to {MAXIMUM}. {advice}."
