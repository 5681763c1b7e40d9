"""Training pictures: whatever people have, read safely and listed."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageChops

from webui.errors import AppError
from webui.files import open_regular, room_on_disk, sha256, write_whole
from webui.images import open_picture, size_of
from webui.training.learned.concepts import concept_shown

MINIMUM, MAXIMUM = 3, 1000
"""How many pictures a concept may be learned from."""
ENOUGH = 15
"""So many pictures are as good as more for most things; with more a run goes on all the same."""
MAX_PIXELS_IN_ALL = 400_000_000
"""Of the pictures of a concept together as they are held in memory, 3 bytes a pixel."""
MAX_PIXELS_EACH = 15_000_000
"""On average, as they are read, if they have more than ``MAX_PIXELS_IN_ALL``."""
HOLD_OUT_FROM = 5
"""Number of pictures from which one can be spared, to tell learning from memorising."""
HOW_MANY = f"{MINIMUM} to {ENOUGH}"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TAKEN = (*SUFFIXES, ".txt")
"""Endings of the files that pictures and captions are read from."""
MASK_ENDING = "-masklabel.png"
"""Ends the name of the mask beside a picture, as OneTrainer has it: white is learned."""
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
    """Of the file's bytes, and of the mask's."""
    text: str
    """The text file beside it, or else its name without leading digits, as captions use it."""
    has_text_file: bool
    mask_file: Path | None = None
    """The file beside it that the mask, or a part of it, comes from."""
    concept: int = 0
    """Which of a run's names it shows, counted from 0."""


class ReadPicture(Protocol):
    """Returns the picture of a file; its text file and its mask may lie elsewhere than beside."""

    def __call__(
        self, path: Path, caption: Path | None = None, mask: Path | None = None
    ) -> Picture: ...


def read_picture(path: Path, caption: Path | None = None, mask: Path | None = None) -> Picture:
    """Read a picture upright and in RGB; its transparency and the mask beside it are its mask.

    ``caption`` is its text file and ``mask`` its mask, where they do not lie beside it. Takes any
    mode and depth; the first frame of an animation. Raises AppError, naming the file, for what is
    not a picture, is damaged, too large or fully masked.
    """
    mask_file, sha = _mask_of(path, mask), sha256(path)
    image, counts = open_picture(path), None
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
        if not alpha.getbbox():
            raise AppError(f"{path.name} is fully transparent: there is nothing to learn from.")
        if alpha.getcolors(1) != [(image.width * image.height, 255)]:
            counts = alpha
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKDROP), image)
    if mask_file is not None:
        white = open_picture(mask_file).convert("L").resize(image.size)
        counts = ImageChops.multiply(white, counts) if counts else white
        if not counts.getbbox():
            raise AppError(f"{mask_file.name} is black where {path.name} has something to learn.")
        sha = hashlib.sha256(f"{sha} {sha256(mask_file)}".encode()).hexdigest()
    text, has_text_file = _text_of(path, caption)
    return Picture(path, image.convert("RGB"), counts, sha, text, has_text_file, mask_file)


class PictureCache:
    """Keeps pictures as they were read, for as long as their files stay as they are.

    On its way from an upload to the latents a picture is asked for many times; it is decoded and
    hashed once. Those used last are kept, up to ``budget_bytes`` of pixels. Threads may share it.
    """

    def __init__(self, budget_bytes: int = 3 * MAX_PIXELS_IN_ALL) -> None:
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[tuple[Any, ...], Picture] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path, caption: Path | None = None, mask: Path | None = None) -> Picture:
        """Return a picture; as ``read_picture``. Its text is read anew each time."""
        stamp = _stamp(path, _mask_of(path, mask))
        with self._lock:
            known = self._kept.get(stamp)
            if known is None:
                known = read_picture(path, caption, mask)
            self._keep(stamp, known)
        text, has_text_file = _text_of(path, caption)
        return replace(known, text=text, has_text_file=has_text_file)

    def copied(self, picture: Picture, copy: Path) -> None:
        """Know the copy of a picture's file as well, without reading it."""
        mask_file = _mask_of(copy, None)
        with self._lock:
            self._keep(_stamp(copy, mask_file), replace(picture, path=copy, mask_file=mask_file))

    def _keep(self, stamp: tuple[Any, ...], picture: Picture) -> None:
        self._kept[stamp] = picture
        self._kept.move_to_end(stamp)
        images = {id(item.image): item.image for item in self._kept.values()}
        size_bytes = sum(3 * image.width * image.height for image in images.values())
        while size_bytes > self._budget_bytes and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            if all(item.image is not gone.image for item in self._kept.values()):
                size_bytes -= 3 * gone.image.width * gone.image.height


def _stamp(*paths: Path | None) -> tuple[Any, ...]:
    """Return what changes when one of some files does; only the path where there is no file."""
    stamps: list[Any] = []
    for path in filter(None, paths):
        stamps.append(path)
        with suppress(OSError):
            found = path.stat()
            stamps += [found.st_ino, found.st_size, found.st_mtime_ns]
    return tuple(stamps)


def _mask_of(path: Path, mask: Path | None) -> Path | None:
    """Return the mask of a picture: the one given, or the one beside it, if there is one."""
    place = mask_place(path, mask)
    return place if place.is_file() else None


def _text_of(path: Path, caption: Path | None) -> tuple[str, bool]:
    """Return what captions say of a picture, and whether a text file says it."""
    text_file = caption or path.with_suffix(".txt")
    if text_file.is_file():
        return _read_text(text_file), True
    return path.stem.lstrip("-_ 0123456789").strip(), False


def mask_place(path: Path, mask: Path | None = None) -> Path:
    """Return where the mask of a picture lies: the file given for it, or else beside it."""
    return mask or path.with_name(path.stem + MASK_ENDING)


def put_mask(place: Path, content: bytes | None) -> bytes | None:
    """Write the file of a mask, or take it away for None; return what was there before.

    Raises AppError where that cannot be done.
    """
    try:
        before = place.read_bytes() if place.is_file() else None
        if content is None:
            place.unlink(missing_ok=True)
        else:
            with room_on_disk():
                write_whole(place, content)
    except OSError as problem:
        raise AppError(f"The mask {place.name} cannot be changed: {problem.strerror}.") from problem
    return before


def is_mask(path: Path) -> bool:
    """Say whether a file is called like the mask of a picture."""
    return path.name.lower().endswith(MASK_ENDING)


def is_picture(path: Path) -> bool:
    """Say whether a file is called like a picture, and not like a mask."""
    return path.suffix.lower() in SUFFIXES and not is_mask(path)


def pair_captions(
    files: Sequence[Path],
) -> tuple[list[tuple[Path, Path | None, Path | None]], list[Path]]:
    """Return the pictures among files, each with the text file and the mask of its name, if any.

    The text files and masks of no picture's name come second. Uploads lie each in a folder of its
    own, so that captions and masks are not beside their pictures.
    """
    texts = {path.stem: path for path in files if path.suffix.lower() == ".txt"}
    masks = {path.name[: -len(MASK_ENDING)]: path for path in files if is_mask(path)}
    pictures = [path for path in files if path.suffix.lower() != ".txt" and not is_mask(path)]
    stems = {path.stem for path in pictures}
    beside = [*texts.items(), *masks.items()]
    unused = [path for stem, path in beside if stem not in stems]
    return [(path, texts.get(path.stem), masks.get(path.stem)) for path in pictures], unused


def _read_text(path: Path) -> str:
    with open_regular(path) as file:
        return " ".join(file.read(4096).decode("utf-8-sig", errors="replace").split())


def find_pictures(folder: Path, names: Sequence[str] = ()) -> tuple[list[Path], list[Path]]:
    """Return the pictures of a folder in order of their names, and the files that are skipped.

    If there are none, those of its sub-folders count: of those named like ``20_cat``, as Kohya's
    scripts have them, where there are any. Of several ``names`` those count that are called like
    one. Raises AppError if there is no such folder.
    """
    if not folder.is_dir():
        raise AppError(f"There is no folder {folder}.")
    found, skipped = _pictures_directly_in(folder)
    if len(names) < 2 and found:
        return found, skipped
    inside = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
    if len(names) > 1:
        inside = [inner for inner in inside if concept_shown(inner / "any", names) is not None]
    for inner in [inner for inner in inside if _COUNTED.match(inner.name)] or inside:
        more, other = _pictures_directly_in(inner)
        found, skipped = found + more, skipped + other
    return found, skipped


def _pictures_directly_in(folder: Path) -> tuple[list[Path], list[Path]]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    pictures = [path for path in files if is_picture(path)]
    used = {*pictures}
    for path in pictures:
        used |= {path.with_suffix(".txt"), path.with_name(path.stem + MASK_ENDING)}
    return pictures, [path for path in files if path not in used]


def read_pictures(
    files: Sequence[Path], read: ReadPicture = read_picture, names: Sequence[str] = ("",)
) -> list[Picture]:
    """Read as many pictures as training takes, with the captions among the files.

    Of several ``names`` each picture shows one (``concept_shown``). One AppError tells of every
    file that cannot be used.
    """
    paired, _ = pair_captions(files)
    if len(paired) > MAXIMUM:
        raise AppError(count_problem(len(paired)))
    pictures, problems, pixels = [], [], 0
    most, each = max(MAX_PIXELS_IN_ALL, MAX_PIXELS_EACH * len(paired)), kept_pixels(len(paired))
    shows = [concept_shown(path, names) for path, *_ in paired]
    for (path, *beside), concept in zip(paired, shows, strict=True):
        if concept is None:
            problems.append(
                f"{path.name} shows none of the names. Put the images of each name into a folder "
                "that is called like it, or begin their file names with it."
            )
            continue
        try:
            width, height = size_of(path)
            if (pixels := pixels + width * height) > most:
                problems.append(
                    f"With {path.name} the images have more than "
                    f"{most // 1_000_000} million pixels; make them smaller."
                )
                break
            pictures.append(replace(fitted(read(path, *beside), each), concept=concept))
        except AppError as problem:
            problems.append(str(problem))
    for number, name in enumerate(names):
        if (count := shows.count(number)) < MINIMUM:
            of_it = f"Of “{name}”: " if len(names) > 1 else ""
            problems.append(f"{of_it}{count_problem(count)}")
    if problems:
        raise AppError(" ".join(problems))
    return pictures


def kept_pixels(count: int) -> int:
    """Return how many pixels each of so many pictures may have in memory."""
    return MAX_PIXELS_IN_ALL // max(1, count)


def fitted(picture: Picture, pixels: int) -> Picture:
    """Return a picture scaled down to at most so many pixels."""
    width, height = picture.image.size
    scale = (pixels / (width * height)) ** 0.5
    if scale >= 1:
        return picture
    size = max(1, int(width * scale)), max(1, int(height * scale))
    image = picture.image.resize(size, Image.Resampling.LANCZOS)
    return replace(picture, image=image, mask=picture.mask and picture.mask.resize(size))


def held_out_count(count: int) -> int:
    """Return how many of so many pictures training does not see: one, or one in ten of many."""
    return max(1, count // 10) if count >= HOLD_OUT_FROM else 0


def held_out(pictures: Sequence[Picture], turn: int = 0) -> set[int]:
    """Return the indices of the pictures that training does not see: the last ones of each name.

    At a later ``turn`` as many before them, and at the first ones it goes on from the last.
    """
    kept: set[int] = set()
    for concept in {picture.concept for picture in pictures}:
        own = [index for index, picture in enumerate(pictures) if picture.concept == concept]
        count = held_out_count(len(own))
        end = len(own) - turn * count % len(own) if own else 0
        kept |= {own[place % len(own)] for place in range(end - count, end)}
    return kept


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
    takes = f"at least {MINIMUM}" if count < MINIMUM else f"at most {MAXIMUM}"
    return f"{have}; training takes {takes}. {advice}."
