"""Styles are AUTOMATIC1111's: kept in a table, written out in the prompts when drawing starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from webui.errors import AppError, BadField
from webui.generation.request import GenerationRequest
from webui.generation.styles import Style, Styles

REQUEST = GenerationRequest(prompt="a castle", negative_prompt="blurry")


@pytest.fixture
def styles(tmp_path: Path) -> Styles:
    return Styles(tmp_path / "styles.csv")


def apply(styles: Styles, *names: str) -> tuple[str, str]:
    request = styles.applied(replace(REQUEST, styles=names))
    assert request.styles == ()
    return request.prompt, request.negative_prompt


def test_a_style_is_appended_or_takes_the_prompt_in_its_placeholder(styles: Styles):
    styles.save(Style("oil", "oil painting", "photo"))
    styles.save(Style("photo", "photo of {prompt}, 35 mm", ""))
    assert apply(styles, "oil") == ("a castle, oil painting", "blurry, photo")
    assert apply(styles, "photo") == ("photo of a castle, 35 mm", "blurry")
    assert apply(styles, "oil", "photo") == (
        "photo of a castle, oil painting, 35 mm",
        "blurry, photo",
    )
    assert apply(styles) == ("a castle", "blurry")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_of_automatic1111_is_read(tmp_path: Path, encoding: str):
    path = tmp_path / "styles.csv"
    path.write_text(
        'name,prompt,negative_prompt\n"Öl, dick","oil,\nimpasto",\nnone,,\n', encoding=encoding
    )
    assert apply(Styles(path), "Öl, dick", "none") == ("a castle, oil,\nimpasto", "blurry")


def test_what_is_saved_is_there_for_others_and_replaces_its_name(tmp_path: Path):
    first, second = Styles(tmp_path / "styles.csv"), Styles(tmp_path / "styles.csv")
    first.save(Style(" my  style ", 'with "quotes", commas', "line\nbreak"))
    assert second.all() == [Style("my style", 'with "quotes", commas', "line\nbreak")]
    second.save(Style("my style", "new", ""))
    assert first.all() == [Style("my style", "new", "")]
    first.delete("my style")
    assert second.all() == []


@pytest.mark.parametrize(
    ("style", "field"),
    [
        (Style("  ", "a", ""), "style_name"),
        (Style("x" * 101, "a", ""), "style_name"),
        (Style("x", " ", ""), "prompt"),
        (Style("x", "a" * 20_001, ""), "prompt"),
    ],
)
def test_a_style_that_cannot_be_used_is_refused_at_its_field(
    styles: Styles, style: Style, field: str
):
    with pytest.raises(BadField) as caught:
        styles.save(style)
    assert caught.value.field == field
    assert styles.version() == []


def test_an_unknown_style_is_refused_at_its_field(styles: Styles):
    for act in (lambda: apply(styles, "nope"), lambda: styles.delete("nope")):
        with pytest.raises(BadField, match="no style “nope”"):
            act()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00broken", b"a,b\n1,2\n"])
def test_a_file_that_is_no_table_of_styles_is_a_clear_error(tmp_path: Path, content: bytes):
    path = tmp_path / "styles.csv"
    path.write_bytes(content)
    with pytest.raises(AppError, match="styles.csv"):
        Styles(path).all()


def test_styles_that_double_the_prompt_come_to_an_end(styles: Styles):
    styles.save(Style("twice", "{prompt} {prompt}", ""))
    assert len(apply(styles, *["twice"] * 8)[0]) > 2000
    with pytest.raises(BadField, match=r"20,000 characters") as caught:
        apply(styles, *["twice"] * 60)
    assert caught.value.field == "styles"
