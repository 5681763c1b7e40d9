"""Finished pictures on the disk: names, numbers, parameters inside them, the trash, grids."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui import files
from webui.errors import AppError
from webui.files import (
    append_whole,
    contained,
    finish_moves,
    move_all,
    replacing,
    room_on_disk,
    write_whole,
)
from webui.generation.metadata.infotext import read_infotext

PARAMETERS = "parameters"
"""The PNG text chunk that AUTOMATIC1111 writes and reads."""
TRASH = ".trash"
"""Folder beside that of the pictures, where deleted ones lie until someone empties it."""
NOTE = ".moves.json"
"""File beside that folder that says what is being moved."""
COPIES = (".jpg", ".txt")
"""What may lie beside a picture and goes with it."""
LOG = "log.csv"
"""Table of the pictures that were kept with *Save*, beside them."""
JPG_QUALITY = 90
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
MAX_GRID_PIXELS = 60_000_000
"""A larger grid is made smaller, so that other programs open it."""


def save_picture(image: Image.Image, infotext: str, folder: Path, decoration: str = "") -> Path:
    """Write ``folder/NNNNN-<decoration>.png`` with its parameters text and return the path."""
    return _save(image, infotext, _numbered(folder, decoration))


def save_copies(image: Image.Image, infotext: str, path: Path, jpg: bool, txt: bool) -> None:
    """Write beside a saved picture what was wished for: a JPEG of it, its parameters as text."""
    if jpg:
        exif = Image.Exif()
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + infotext.encode("utf-16-be")
        with replacing(path.with_suffix(".jpg")) as temporary:
            image.convert("RGB").save(temporary, format="JPEG", quality=JPG_QUALITY, exif=exif)
    if txt:
        write_whole(path.with_suffix(".txt"), infotext)


def save_grid(images: Sequence[Image.Image], infotext: str, folder: Path) -> Path:
    """Write pictures of one size side by side as ``folder/grid-NNNN.png``."""
    files.disk.make_folder(folder)
    number = _next_number(folder, re.compile(r"grid-(\d{4,})\.png"))
    return _save(make_grid(images), infotext, folder / f"grid-{number:04d}.png")


def keep_copy(path: Path, infotext: str, folder: Path) -> Path:
    """Copy a saved picture into a folder and note it in the folder's ``log.csv``; return the copy.

    The table has the columns that AUTOMATIC1111's *Save* writes.
    """
    copy = _numbered(folder, re.sub(r"^\d{5,}-?", "", path.stem))
    with replacing(copy) as temporary:
        shutil.copyfile(path, temporary)
    request, pairs = read_infotext(infotext)
    row = {
        "prompt": request.prompt,
        "seed": request.seed,
        "width": request.width,
        "height": request.height,
        "sampler": request.sampler,
        "cfgs": f"{request.cfg_scale:g}",
        "steps": request.steps,
        "filename": copy.name,
        "negative_prompt": request.negative_prompt,
        "sd_model_name": pairs.get("Model", ""),
        "sd_model_hash": pairs.get("Model hash", ""),
    }
    log, lines = folder / LOG, io.StringIO(newline="")
    table = csv.DictWriter(lines, row)
    if not log.exists() or log.stat().st_size == 0:
        table.writeheader()
    table.writerow(row)
    append_whole(log, lines.getvalue().encode())
    files.disk.sync(log)
    files.disk.sync_folder(folder)
    return copy


def make_grid(images: Sequence[Image.Image]) -> Image.Image:
    """Return pictures of one size in rows, about as many rows as columns, never more."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = images[0].size
    shrink = min(1.0, math.sqrt(MAX_GRID_PIXELS / (columns * width * rows * height)))
    width, height = max(1, int(width * shrink)), max(1, int(height * shrink))
    grid = Image.new("RGB", (columns * width, rows * height))
    for number, image in enumerate(images):
        tile = image if shrink == 1 else image.resize((width, height), Image.Resampling.LANCZOS)
        grid.paste(tile, (number % columns * width, number // columns * height))
    return grid


def discard(folder: Path, name: str) -> None:
    """Move a picture below ``folder`` to the trash; ``name`` is its path from there.

    Raises AppError if there is no such picture, the name leads out of the folder, or there is
    another picture where it would go.
    """
    _move(folder, folder.parent / TRASH / folder.name, name, folder.parent / NOTE)


def bring_back(folder: Path, name: str) -> None:
    """Move a picture from the trash back to where it was; errors as of ``discard``."""
    _move(folder.parent / TRASH / folder.name, folder, name, folder.parent / NOTE)


def finish_broken_off(outputs: Path) -> None:
    """Finish what was being thrown away or brought back when the app was killed."""
    finish_moves(outputs / NOTE)


def _move(source: Path, target: Path, name: str, note: Path) -> None:
    old, new = contained(source, name), contained(target, name)
    if old.suffix.lower() != ".png" or not old.is_file():
        raise AppError(f"There is no image {name}.")
    if new.exists():
        raise AppError(f"There is another image {name} now; move that one away first.")
    there = (suffix for suffix in (*COPIES, old.suffix) if old.with_suffix(suffix).is_file())
    with room_on_disk():
        move_all([(old.with_suffix(suffix), new.with_suffix(suffix)) for suffix in there], note)


def _numbered(folder: Path, decoration: str) -> Path:
    """Return the path of the next picture of a folder, which is made if it is not there."""
    files.disk.make_folder(folder)
    number = _next_number(folder, re.compile(r"(\d{5,})(?:-|\.)"))
    name = f"{number:05d}-{decoration}" if decoration else f"{number:05d}"
    return folder / f"{name}.png"


def _save(image: Image.Image, infotext: str, path: Path) -> Path:
    info = PngInfo()
    info.add_text(PARAMETERS, infotext)
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=info)
    return path


def read_parameters(path: Path) -> str | None:
    """Return the parameters text inside a picture, or None if there is none."""
    with Image.open(path) as image:
        text = getattr(image, "text", {}).get(PARAMETERS)
    return text if isinstance(text, str) else None


def _next_number(folder: Path, pattern: re.Pattern[str]) -> int:
    numbers = (pattern.match(path.name) for path in folder.iterdir())
    return max((int(number[1]) for number in numbers if number), default=-1) + 1
