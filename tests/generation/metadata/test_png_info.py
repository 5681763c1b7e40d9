"""Parameters are found inside pictures of several programs, and hostile pictures are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui.errors import AppError
from webui.generation.metadata.png_info import MAX_TEXT, decode_comment, read_picture

TEXT = "a cat – ünïcode\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 3"


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def with_comment(path: Path, comment: bytes) -> Path:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


def test_the_chunk_of_a_png_is_found(tmp_path: Path):
    inside = read_picture(png(tmp_path / "a.png", parameters=TEXT, workflow="{}"))
    assert inside is not None and (inside.text, inside.source) == (TEXT, "PNG text")


@pytest.mark.parametrize("ending", ["jpg", "webp"])
@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
def test_the_comment_of_a_jpeg_and_a_webp_is_found(tmp_path: Path, ending: str, order: str):
    path = with_comment(tmp_path / f"a.{ending}", b"UNICODE\x00" + TEXT.encode(order))
    inside = read_picture(path)
    assert inside is not None and (inside.text, inside.source) == (TEXT, "EXIF comment")


@pytest.mark.parametrize("start", [b"ASCII\x00\x00\x00", bytes(8), b""])
def test_a_comment_of_another_encoding_is_read(start: bytes):
    assert decode_comment(start + TEXT.encode()) == TEXT


def test_a_picture_without_parameters_has_none(tmp_path: Path):
    assert read_picture(png(tmp_path / "a.png", Software="a camera")) is None


def test_what_is_no_picture_or_too_long_is_refused_with_a_reason(tmp_path: Path):
    (tmp_path / "a.png").write_text("<svg onload=alert(1)>")
    with pytest.raises(AppError, match="not an image"):
        read_picture(tmp_path / "a.png")
    with pytest.raises(AppError, match="characters"):
        read_picture(png(tmp_path / "b.png", parameters="a" * (MAX_TEXT + 1)))


def test_a_bomb_in_a_chunk_is_refused(tmp_path: Path):
    info = PngInfo()
    info.add_text("parameters", "a" * 5_000_000, zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(AppError, match="damaged"):
        read_picture(tmp_path / "a.png")
