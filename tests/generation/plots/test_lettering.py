"""Every letter of a text is one that its font has, or its code stands there."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from webui.generation.plots import lettering
from webui.generation.plots.lettering import Font, font_files, lettered

NOBODYS = "\U0003fffd"
"""In a plane of Unicode without any character."""


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which no font is installed."""
    for cached in (lettering.font_files, lettering._best_font):
        monkeypatch.setattr(lettering, cached.__name__, cached.__wrapped__)
    monkeypatch.setattr(lettering, "_folders", lambda: iter([tmp_path]))


def drawn(letter: str, font: Font) -> bytes:
    image = Image.new("L", (64, 64))
    ImageDraw.Draw(image).text((8, 8), letter, 255, font)
    return image.tobytes()


def test_latin_is_drawn_with_the_font_that_always_comes_along():
    text, font = lettered("my_mug (x), strength 1.5", 20)
    assert text == "my_mug (x), strength 1.5"
    assert font.getname() == lettered("", 20)[1].getname()
    assert font.size == 20


@pytest.mark.parametrize("name", ["Прекрасный кот", "ζωγραφιά", "水彩", "חתול", "ไทย"])
def test_a_name_is_drawn_by_a_font_that_has_its_letters_or_stands_there_in_codes(name: str):
    text, font = lettered(name, 24)
    if text == name:
        missing = drawn(NOBODYS, font)
        assert all(drawn(letter, font) != missing for letter in name.replace(" ", ""))
    else:
        assert f"{ord(name[0]):04X}" in text and text.isascii()


def test_cyrillic_and_greek_are_no_boxes_where_a_common_font_is():
    if not any(
        file.stem in ("DejaVuSans", "arial", "LiberationSans-Regular") for file in font_files()
    ):
        pytest.skip("No font with Cyrillic letters is installed here.")
    assert lettered("Прекрасный кот", 24)[0] == "Прекрасный кот"
    assert lettered("ζωγραφιά", 24)[0] == "ζωγραφιά"
    first, second = (lettered(text, 24)[1].getmask(text) for text in ("Кот", "Пёс"))
    assert bytes(first) != bytes(second)


def test_a_letter_that_no_font_has_becomes_its_code_and_the_rest_stays():
    assert lettered(f"mug {NOBODYS}", 20)[0] == "mug [U+3FFFD]"
    assert lettered(f"a{NOBODYS}{NOBODYS} b", 20)[0] == "a[U+3FFFD 3FFFD] b"
    assert lettered("bell\x07 \udcff", 20)[0] == "bell[U+0007] [U+DCFF]"


def test_letters_in_parts_are_put_together_and_invisible_ones_left_out():
    assert lettered("e\u0301tude", 20)[0] == "étude"
    assert lettered("a\u202eb\u200b", 20)[0] == "ab"


def test_without_any_font_installed_names_can_still_be_told_apart(no_fonts: None):
    assert lettered("名前", 20)[0] == "[U+540D 524D]"
    assert lettered("Künstler 64×64", 20)[0] == "Kunstler 64x64"


def test_files_that_are_no_fonts_are_passed_over(no_fonts: None, tmp_path: Path):
    (tmp_path / "broken-sans.ttf").write_bytes(b"not a font")
    assert lettering.font_files() == (tmp_path / "broken-sans.ttf",)
    assert lettered("кот", 20)[0] == "[U+043A 043E 0442]"
