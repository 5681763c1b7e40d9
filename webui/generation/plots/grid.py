"""Pictures side by side in one, with labels at its columns and rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from webui.generation.plots.lettering import Font, lettered

MAX_GRID_PIXELS = 40_000_000
"""About the most pixels of a grid's cells together; larger cells are made smaller."""
LONGEST_LABEL = 160
"""Characters of a label that are drawn."""
MOST_LINES = 6
"""Lines of a label that are drawn."""
_GAP = 4
_PAPER, _INK, _BLANK = "white", "black", "#dddddd"

Drawn = Image.Image | str | None
"""A picture, the reason why there is none, or nothing."""


@dataclass(frozen=True)
class _Label:
    """A text broken into lines, and the room it takes in pixels."""

    text: str
    font: Font
    width: int
    height: int


def small_enough(image: Image.Image, cells: int) -> Image.Image:
    """Return a picture, made smaller if that many of its size would make too large a grid."""
    side = int(math.sqrt(MAX_GRID_PIXELS / max(1, cells)))
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def draw_grid(
    cells: Sequence[Drawn],
    columns: Sequence[str],
    rows: Sequence[str],
    sheets: Sequence[str],
) -> Image.Image:
    """Return the cells as one picture: a sheet of columns and rows for each name in ``sheets``.

    Columns change fastest, sheets slowest. Empty labels take no room. Sheets stand side by side, or
    one above the other where they are wider than high.
    """
    drawn = [cell for cell in cells if isinstance(cell, Image.Image)]
    width = max((cell.width for cell in drawn), default=64)
    height = max((cell.height for cell in drawn), default=64)
    size = len(columns) * len(rows)
    parts = [
        _sheet(cells[number * size : (number + 1) * size], columns, rows, title, (width, height))
        for number, title in enumerate(sheets)
    ]
    wide, high = parts[0].width, max(part.height for part in parts)
    step_x, step_y = (wide + _GAP, 0) if wide <= high else (0, high + _GAP)
    last = len(parts) - 1
    whole = Image.new("RGB", (wide + last * step_x, high + last * step_y), _PAPER)
    for number, part in enumerate(parts):
        whole.paste(part, (number * step_x, number * step_y))
    return whole


def _sheet(
    cells: Sequence[Drawn],
    columns: Sequence[str],
    rows: Sequence[str],
    title: str,
    cell_size: tuple[int, int],
) -> Image.Image:
    """Return one sheet: the title, the columns' labels, and each row with its label before it."""
    width, height = cell_size
    size = _letter_px(width)
    tops = [_wrapped(text, size, width - 2 * _GAP) for text in columns]
    sides = [_wrapped(text, size, max(width // 2, 96)) for text in rows]
    left = _room(label.width for label in sides)
    right = left + len(columns) * (width + _GAP) - _GAP
    heading = _wrapped(title, size, right - 2 * _GAP)
    above = _room([heading.height])
    top = above + _room(label.height for label in tops)
    sheet = Image.new("RGB", (right, top + len(rows) * (height + _GAP) - _GAP), _PAPER)
    _write(sheet, heading, right / 2, above / 2)
    for column, label in enumerate(tops):
        _write(sheet, label, left + column * (width + _GAP) + width / 2, (above + top) / 2)
    for row, label in enumerate(sides):
        _write(sheet, label, left / 2, top + row * (height + _GAP) + height / 2)
    for number, cell in enumerate(cells):
        x = left + number % len(columns) * (width + _GAP)
        y = top + number // len(columns) * (height + _GAP)
        shown = cell if isinstance(cell, Image.Image) else _blank(cell or "", cell_size)
        sheet.paste(
            shown.convert("RGB"),
            (x + (width - shown.width) // 2, y + (height - shown.height) // 2),
        )
    return sheet


def _blank(reason: str, size: tuple[int, int]) -> Image.Image:
    """Return an empty cell with the reason on it, as much of it as there is room for."""
    width, height = size
    image = Image.new("RGB", size, _BLANK)
    letter_px = _letter_px(width)
    lines = max(1, int(height / (letter_px * 1.5)))
    _write(image, _wrapped(reason, letter_px, width - 2 * _GAP, lines), width / 2, height / 2)
    return image


def _write(image: Image.Image, label: _Label, x: float, y: float) -> None:
    """Draw a label with its middle at a place."""
    ImageDraw.Draw(image).multiline_text(
        (x, y), label.text, _INK, label.font, anchor="mm", align="center"
    )


def _room(sizes: Iterable[int]) -> int:
    """Return the room for labels with a gap on both sides, none for empty ones."""
    largest = max(sizes, default=0)
    return largest + 4 * _GAP if largest else 0


def _letter_px(width: int) -> int:
    """Return the size of letters in pixels that suits cells of a width."""
    return min(32, max(12, width // 14))


def _wrapped(text: str, size: int, width: int, most_lines: int = MOST_LINES) -> _Label:
    """Return a label of letters in a size, at most ``width`` wide and ``most_lines`` long.

    Lines are broken at blanks, or inside words; what is left over becomes dots.
    """
    cut = text if len(text) <= LONGEST_LABEL else f"{text[:LONGEST_LABEL]}..."
    shown, font = lettered(cut, size)
    lines = _lines(shown, font, width)
    if not lines:
        return _Label("", font, 0, 0)
    if len(lines) > most_lines:
        lines = lines[:most_lines]
        while lines[-1] and font.getlength(f"{lines[-1]}...") > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] += "..."
    broken = "\n".join(lines)
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = draw.multiline_textbbox((0, 0), broken, font)
    return _Label(broken, font, math.ceil(right - left), math.ceil(bottom - top))


def _lines(text: str, font: Font, width: int) -> list[str]:
    """Return a text in lines that are at most ``width`` wide."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        while font.getlength(word) > width and len(word) > 1:
            fits = len(word) - 1
            while fits > 1 and font.getlength(word[:fits]) > width:
                fits -= 1
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines
