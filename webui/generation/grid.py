"""Pictures side by side in one, with labels at its columns and rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

MAX_GRID_PIXELS = 40_000_000
"""About the most pixels of a grid's cells together; larger cells are made smaller."""
LONGEST_LABEL = 160
"""Characters of a label that are drawn."""
_GAP = 4
_PAPER, _INK, _BLANK = "white", "black", "#dddddd"


@dataclass(frozen=True)
class _Label:
    """A text broken into lines, and the room it takes in pixels."""

    text: str
    width: int
    height: int


def small_enough(image: Image.Image, cells: int) -> Image.Image:
    """Return a picture, made smaller if that many of its size would make too large a grid."""
    side = int(math.sqrt(MAX_GRID_PIXELS / max(1, cells)))
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def write_on_blank(text: str, width: int, height: int) -> Image.Image:
    """Return an empty picture with a sentence on it, for a cell that could not be drawn."""
    image = Image.new("RGB", (width, height), _BLANK)
    font = _font(width)
    label = _wrapped(text, font, width - 2 * _GAP)
    ImageDraw.Draw(image).multiline_text(
        (width / 2, height / 2), label.text, _INK, font, anchor="mm", align="center"
    )
    return image


def draw_grid(
    cells: Sequence[Image.Image | None],
    columns: Sequence[str],
    rows: Sequence[str],
    sheets: Sequence[str],
) -> Image.Image:
    """Return the cells as one picture: a sheet of columns and rows for each name in ``sheets``.

    Columns change fastest, sheets slowest; None stays blank. Empty labels take no room. Sheets
    stand side by side, or one above the other where they are wider than high.
    """
    drawn = [cell for cell in cells if cell is not None]
    width = max((cell.width for cell in drawn), default=64)
    height = max((cell.height for cell in drawn), default=64)
    size = len(columns) * len(rows)
    parts = [
        _sheet(cells[number * size : (number + 1) * size], columns, rows, title, (width, height))
        for number, title in enumerate(sheets)
    ]
    across = parts[0].width <= parts[0].height
    step_x, step_y = (parts[0].width + _GAP, 0) if across else (0, parts[0].height + _GAP)
    last = len(parts) - 1
    whole = Image.new(
        "RGB", (parts[0].width + last * step_x, parts[0].height + last * step_y), _PAPER
    )
    for number, part in enumerate(parts):
        whole.paste(part, (number * step_x, number * step_y))
    return whole


def _sheet(
    cells: Sequence[Image.Image | None],
    columns: Sequence[str],
    rows: Sequence[str],
    title: str,
    cell_size: tuple[int, int],
) -> Image.Image:
    """Return one sheet: the title, the columns' labels, and each row with its label before it."""
    width, height = cell_size
    font = _font(width)
    tops = [_wrapped(text, font, width - 2 * _GAP) for text in columns]
    sides = [_wrapped(text, font, max(width // 2, 96)) for text in rows]
    left = _room(label.width for label in sides)
    right = left + len(columns) * (width + _GAP) - _GAP
    heading = _wrapped(title, font, right - 2 * _GAP)
    above = _room([heading.height])
    top = above + _room(label.height for label in tops)
    sheet = Image.new("RGB", (right, top + len(rows) * (height + _GAP) - _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)

    def write(label: _Label, x: float, y: float) -> None:
        draw.multiline_text((x, y), label.text, _INK, font, anchor="mm", align="center")

    write(heading, right / 2, above / 2)
    for column, label in enumerate(tops):
        write(label, left + column * (width + _GAP) + width / 2, (above + top) / 2)
    for row, label in enumerate(sides):
        write(label, left / 2, top + row * (height + _GAP) + height / 2)
    for number, cell in enumerate(cells):
        x = left + number % len(columns) * (width + _GAP)
        y = top + number // len(columns) * (height + _GAP)
        if cell is None:
            draw.rectangle((x, y, x + width - 1, y + height - 1), _BLANK)
        else:
            sheet.paste(
                cell.convert("RGB"),
                (x + (width - cell.width) // 2, y + (height - cell.height) // 2),
            )
    return sheet


def _room(sizes: Iterable[int]) -> int:
    """Return the room for labels with a gap on both sides, none for empty ones."""
    largest = max(sizes, default=0)
    return largest + 4 * _GAP if largest else 0


def _font(width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that comes with Pillow, in a size that suits cells of a width."""
    return ImageFont.load_default(min(32, max(12, width // 14)))


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> _Label:
    """Return a label broken at blanks, or inside words, so that it is at most ``width`` wide."""
    shown = text if len(text) <= LONGEST_LABEL else f"{text[:LONGEST_LABEL]}…"
    lines: list[str] = []
    for word in shown.split():
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
    if not lines:
        return _Label("", 0, 0)
    broken = "\n".join(lines)
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = draw.multiline_textbbox((0, 0), broken, font)
    return _Label(broken, math.ceil(right - left), math.ceil(bottom - top))
