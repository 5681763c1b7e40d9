"""A grid holds every cell at its place, and labels of any length and script beside them."""

from __future__ import annotations

from PIL import Image

from webui.generation.plots.grid import MOST_LINES, _wrapped, draw_grid, small_enough

COLOURS = ["red", "green", "blue", "white"]
CELLS = [Image.new("RGB", (32, 24), colour) for colour in COLOURS]


def dark(image: Image.Image) -> int:
    """Count the pixels that ink has touched."""
    return sum(image.convert("L").histogram()[:128])


def test_a_grid_holds_every_cell_at_its_place():
    plain = draw_grid(CELLS, ["", ""], ["", ""], [""])
    assert plain.size == (68, 52)
    assert [plain.getpixel(at) for at in ((2, 2), (40, 2), (2, 30))] == [
        (255, 0, 0), (0, 128, 0), (0, 0, 255),
    ]  # fmt: skip
    labelled = draw_grid(CELLS, ["Steps: 1", "Steps: 2"], ["a" * 300, "名"], ["z"])
    assert labelled.width > plain.width and labelled.height > plain.height
    two = draw_grid([*CELLS[:3], None], ["x"], ["y", "y"], ["one", "two"])
    assert two.width > 64


def test_sheets_whose_titles_need_more_lines_are_not_cut():
    cells = [Image.new("RGB", (96, 96), "white")] * 2
    short = draw_grid(cells, [""], [""], ["a", "b"])
    long = draw_grid(cells, [""], [""], ["a", "many words that are a title"])
    assert long.height > short.height


def test_large_cells_are_made_smaller():
    assert max(small_enough(Image.new("RGB", (2048, 1024)), 100).size) <= 632


def test_a_cell_without_a_picture_is_grey_and_says_why():
    picture = Image.new("RGB", (160, 96), "white")
    silent = draw_grid([picture, None], ["", ""], [""], [""])
    speaking = draw_grid([picture, "It could not be drawn."], ["", ""], [""], [""])
    assert silent.size == speaking.size == (324, 96)
    assert silent.getpixel((170, 4)) == speaking.getpixel((170, 4)) == (0xDD,) * 3
    assert dark(silent) == 0 < dark(speaking)


def test_long_labels_are_broken_into_lines_and_end_with_dots():
    label = _wrapped("a very long name of an embedding that somebody has made " * 9, 12, 90)
    assert label.text.count("\n") == MOST_LINES - 1 and label.text.endswith("...")
    assert label.width <= 90 + 2
    one = _wrapped("a" * 400, 12, 90)
    assert one.text.count("\n") == MOST_LINES - 1 and one.width <= 90 + 2


def test_names_in_other_scripts_are_told_apart():
    cells = [Image.new("RGB", (96, 64), "white")] * 2
    kot, pes = (draw_grid(cells, [name, ""], [""], [""]) for name in ("Кот", "Пёс"))
    assert kot.tobytes() != pes.tobytes()
    one, two = (draw_grid(cells, [name, ""], [""], [""]) for name in ("\U0003fffd", "\U0003fffc"))
    assert one.tobytes() != two.tobytes()
