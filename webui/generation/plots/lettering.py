"""Any text as letters that a font of this machine can draw, for the labels of plots."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FILES = (".ttf", ".otf", ".ttc", ".otc")
_FANCY = ("bold", "italic", "oblique", "condensed", "light", "thin", "black", "mono")
_WITHOUT_LETTERS = "lastresort"
"""macOS's font of that name has a box for every letter, which would pass for the letter."""
_UNASSIGNED = "\U0010ffff"
"""No character and never will be one, so every font draws its sign for a missing letter."""
_PRINTABLE = "".join(map(chr, range(33, 127)))
"""What every font for texts has; it writes the codes of letters that no font has."""
_PROBE_PX = 16


def lettered(text: str, size: int) -> tuple[str, Font]:
    """Return a text as it can be drawn, and the font for it in a size in pixels.

    Pillow's own font is taken if it has all letters, else the font of the system that has most.
    Letters that are in no font lose their accents or become their codes, ``[U+540D 524D]``;
    invisible ones are left out.
    """
    composed = unicodedata.normalize("NFC", text)
    shown = "".join(letter for letter in composed if unicodedata.category(letter) != "Cf")
    letters = "".join(dict.fromkeys(letter for letter in shown if not letter.isspace()))
    file, known = _best_font(letters)
    plain = "".join(letter if letter in known else _plain(letter) for letter in shown)
    runs = groupby(plain, lambda letter: letter.isspace() or letter in known + _PRINTABLE)
    written = "".join("".join(run) if drawable else _codes(run) for drawable, run in runs)
    return written, _opened(file, size)


def _plain(letter: str) -> str:
    """Return what is left of a letter in ASCII, or the letter if that is nothing."""
    parts = unicodedata.normalize("NFD", letter).replace("×", "x")
    return "".join(part for part in parts if part.isascii()) or letter


def _codes(letters: Iterable[str]) -> str:
    """Return the code points of letters, hexadecimal as in the tables of Unicode."""
    return f"[U+{' '.join(f'{ord(letter):04X}' for letter in letters)}]"


@lru_cache(maxsize=512)
def _best_font(letters: str) -> tuple[Path | None, str]:
    """Return the font that has most of some letters, None for Pillow's own, and those letters."""
    best: tuple[Path | None, str] = (None, _covered(None, letters))
    for file in font_files() if best[1] != letters else ():
        known = _covered(file, letters)
        if len(known) > len(best[1]):
            best = file, known
        if known == letters:
            break
    return best


def _covered(file: Path | None, letters: str) -> str:
    """Return those of some letters that a font has; none if it cannot be used for texts."""
    try:
        font = _opened(file, _PROBE_PX)
        missing = _drawn(font, _UNASSIGNED)
        if any(_drawn(font, letter) == missing for letter in _PRINTABLE):
            return ""
        return "".join(letter for letter in letters if _has(font, letter, missing))
    except OSError:  # fonts of pictures have no size in pixels, and a file can be broken
        return ""


def _has(font: Font, letter: str, missing: bytes) -> bool:
    printable = unicodedata.category(letter) not in ("Cc", "Cs")
    return printable and _drawn(font, letter) != missing


def _drawn(font: Font, letter: str) -> bytes:
    """Return the pixels of a letter; Pillow does not tell what a font has otherwise."""
    image = Image.new("L", (2 * _PROBE_PX, 2 * _PROBE_PX))
    ImageDraw.Draw(image).text((_PROBE_PX, _PROBE_PX), letter, 255, font, anchor="mm")
    return image.tobytes()


@lru_cache(maxsize=64)
def _opened(file: Path | None, size: int) -> Font:
    """Return a font in a size in pixels, Pillow's own for None; raises OSError."""
    return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)


@lru_cache(maxsize=1)
def font_files() -> tuple[Path, ...]:
    """Return the fonts of this machine: plain ones first, and of those the ones without serifs."""
    found = {
        Path(place, name)
        for folder in _folders()
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(_FILES) and _WITHOUT_LETTERS not in name.lower()
    }

    def rank(file: Path) -> tuple[bool, bool, int, str]:
        stem = file.stem.lower()
        return any(word in stem for word in _FANCY), "sans" not in stem, len(stem), str(file)

    return tuple(sorted(found, key=rank))


def _folders() -> Iterator[Path]:
    """Yield the folders in which this kind of system has its fonts; not all of them exist."""
    home = Path.home()
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows"), "Fonts")
        yield Path(os.environ.get("LOCALAPPDATA", home), "Microsoft", "Windows", "Fonts")
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    else:
        data = os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        yield from (Path(folder, "fonts") for folder in (data, *shared.split(":")))
        yield home / ".fonts"
