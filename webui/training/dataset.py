"""Training pictures: read whatever people have safely, cut them, say what is wrong with them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from webui.errors import AppError
from webui.files import sha256
from webui.images import open_picture
from webui.training.buckets import Size, bucket_of

MINIMUM, MAXIMUM = 3, 15
"""How many pictures a concept is learned from."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_COUNTED = re.compile(r"\d+_")
_BACKDROP = (128, 128, 128)
_BLURRED = 0.05
"""Of sharp pictures more than 0.15 of the contrast vanishes when they are blurred a little."""


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


@dataclass(frozen=True, eq=False)
class Square:
    """A piece cut from a picture, of the size it is trained at: a square, or a bucket's shape."""

    picture: int
    """Index of the picture it was cut from."""
    image: Image.Image
    mask: Image.Image | None


@dataclass(frozen=True)
class Finding:
    """Something worth knowing about the pictures before training on them."""

    stops: bool
    """Whether training is impossible; all else is advice."""
    file: str | None
    """Name of the picture it is about; None = about all of them."""
    message: str


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
    return " ".join(path.read_bytes()[:4096].decode("utf-8-sig", errors="replace").split())


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
    pictures, problems = [], []
    for path in paths:
        try:
            pictures.append(read_picture(path))
        except AppError as problem:
            problems.append(str(problem))
    if not MINIMUM <= len(paths) <= MAXIMUM:
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


def squares(
    pictures: Sequence[Picture],
    side: int,
    crops: int = 1,
    flip: bool = False,
    seed: int = 0,
    places: Sequence[float] = (),
    buckets: Sequence[Size] = (),
) -> list[Square]:
    """Cut squares of ``side`` pixels: the picture's own (``box_of``), then ``crops - 1`` by lot.

    The short side is scaled, never squashed; random cuttings take 70 to 100 % of it. With
    ``flip`` each square is there a second time, mirrored. ``places`` as in ``Recipe.places``.
    With ``buckets`` each picture is cut to the shape among them that is nearest to its own.
    """
    cut = []
    for index, picture in enumerate(pictures):
        draw = random.Random(f"{seed} {picture.sha256}")
        size = size_in(picture, side, buckets)
        shape = size[0] / size[1]
        for number in range(crops):
            if number == 0:
                box = box_of(picture, places[index] if index < len(places) else -1, shape)
            else:
                part = draw.uniform(0.7, 1.0)
                box = _box(picture.image.size, part, draw.random(), draw.random(), shape)
            image = picture.image.resize(size, Image.Resampling.LANCZOS, box=box)
            mask = picture.mask and picture.mask.resize(size, Image.Resampling.BOX, box=box)
            cut.append(Square(index, image, mask))
            if flip:
                cut.append(Square(index, ImageOps.mirror(image), mask and ImageOps.mirror(mask)))
    return cut


def size_in(picture: Picture, side: int, buckets: Sequence[Size] = ()) -> Size:
    """Return the size a picture is cut to: a square, or the bucket nearest to its shape."""
    return bucket_of(picture.image.size, buckets) if buckets else (side, side)


def box_of(
    picture: Picture, place: float = -1, shape: float = 1.0
) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a picture's square in pixels.

    ``place`` is where along the long side it lies, 0 to 1; -1 = where there is most detail.
    ``shape`` is the width as a multiple of the height, where it is to be no square.
    """
    across, down = focus(picture, shape) if place < 0 else (place, place)
    return _box(picture.image.size, 1.0, across, down, shape)


def focus(picture: Picture, shape: float = 1.0) -> tuple[float, float]:
    """Return where along the width and the height the square with most detail lies, 0 to 1 each.

    Between squares that are nearly as detailed the one nearer to the middle is taken. ``shape``
    as for ``box_of``.
    """
    width, height = picture.image.size
    if width == height * shape:
        return 0.5, 0.5
    scale = 64 / min(width, height)
    size = (max(64, round(width * scale)), max(64, round(height * scale)))
    values = np.asarray(picture.image.convert("L").resize(size), dtype=np.float32)
    detail = np.hypot(*np.gradient(values))
    if picture.mask is not None:
        detail *= np.asarray(picture.mask.resize(size), dtype=np.float32) / 255
    wide = width > height * shape
    along = detail.sum(axis=0 if wide else 1)  # [positions on the side that is cut]
    kept = size[1] * shape if wide else size[0] / shape
    window = np.ones(min(len(along), max(1, round(kept))))
    inside = np.convolve(along, window, mode="valid") / max(1e-6, float(along.sum()))
    places = np.linspace(0, 1, len(inside))
    best = float(places[int(np.argmax(inside - 0.2 * np.abs(places - 0.5)))])
    return (best, 0.5) if wide else (0.5, best)


def _box(
    size: Size, part: float, across: float, down: float, shape: float
) -> tuple[float, float, float, float]:
    kept_width, kept_height = (length * part for length in _extent(size, shape))
    left, top = (size[0] - kept_width) * across, (size[1] - kept_height) * down
    return left, top, min(size[0], left + kept_width), min(size[1], top + kept_height)


def _extent(size: Size, shape: float) -> tuple[float, float]:
    """Return width and height of the largest piece of a shape in a picture of a size."""
    width = min(size[0], size[1] * shape)
    return width, min(size[1], width / shape)


def preflight(
    pictures: Sequence[Picture], side: int, buckets: Sequence[Size] = ()
) -> list[Finding]:
    """Look for what makes pictures unfit or poor to learn from; the worst first.

    ``side`` and ``buckets`` as for ``squares``.
    """
    findings = []
    if not MINIMUM <= len(pictures) <= MAXIMUM:
        findings.append(Finding(True, None, count_problem(len(pictures))))
    small = [ImageOps.fit(picture.image.convert("L"), (9, 8)) for picture in pictures]
    prints = [_difference_hash(image) for image in small]
    for index, picture in enumerate(pictures):
        findings += _look_at(picture, size_in(picture, side, buckets))
        for other in range(index):
            same = pictures[other].sha256 == picture.sha256
            if same or (prints[other] ^ prints[index]).bit_count() <= 2:
                kind = "the same as" if same else "nearly the same as"
                name = pictures[other].path.name
                findings.append(
                    Finding(False, picture.path.name, f"is {kind} “{name}”; leave one out.")
                )
                break
    if len(pictures) >= MINIMUM and _corners_alike(pictures):
        findings.append(
            Finding(
                False,
                None,
                "All pictures have the same background, which will be learned with the thing. "
                "Use different backgrounds, or transparent ones.",
            )
        )
    return sorted(findings, key=lambda finding: not finding.stops)


def _look_at(picture: Picture, cut: Size) -> list[Finding]:
    """Look at a picture that will be cut to a size."""
    findings = []
    name, (width, height) = picture.path.name, picture.image.size
    kept_width, kept_height = _extent(picture.image.size, cut[0] / cut[1])
    square, side = cut[0] == cut[1], min(cut)
    if round(kept_width) < cut[0] or round(kept_height) < cut[1]:
        trained = f"{side} pixels" if square else f"{cut[0]}×{cut[1]} pixels"
        message = f"is {width}×{height}, smaller than the {trained} it is trained at."
        findings.append(Finding(False, name, message))
    elif width * height > 2.2 * kept_width * kept_height:
        used = "a square" if square else "a part"
        message = f"is much longer than wide; only {used} of it is used. Crop it yourself."
        findings.append(Finding(False, name, message))
    values = np.asarray(ImageOps.fit(picture.image, (128, 128)).convert("L"), dtype=np.float32)
    if values.std() < 3:
        findings.append(Finding(False, name, "is almost one plain colour."))
    elif min(width, height) >= side and _sharpness(picture.image, side) < _BLURRED:
        findings.append(Finding(False, name, "looks blurred; a sharp picture teaches more."))
    return findings


def _sharpness(image: Image.Image, side: int) -> float:
    """Return how much of the picture's contrast vanishes when it is blurred a little, 0 to 1."""
    grey = ImageOps.fit(image, (side, side)).convert("L")
    soft = grey.filter(ImageFilter.GaussianBlur(1.5))
    sharp = np.asarray(grey, dtype=np.float32)
    lost = (sharp - np.asarray(soft, dtype=np.float32)).std()
    return float(lost / max(1.0, sharp.std()))


def _difference_hash(image: Image.Image) -> int:
    """Return 64 bits that near-duplicates share: whether each of 8x8 points is darker than its
    neighbour."""
    values = np.asarray(image, dtype=np.int16)
    bits = (values[:, 1:] > values[:, :-1] + 2).flatten()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _corners_alike(pictures: Sequence[Picture]) -> bool:
    """Whether the corners have the same colours in every picture."""
    corners = []
    for picture in pictures:
        if picture.mask is not None:
            return False
        values = np.asarray(ImageOps.fit(picture.image, (16, 16)), dtype=np.float32)
        parts = (values[:3, :3], values[:3, -3:], values[-3:, :3], values[-3:, -3:])
        corners.append([part.mean(axis=(0, 1)) for part in parts])
    return bool(np.std(np.array(corners), axis=0).max() < 8)
