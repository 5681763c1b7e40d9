"""Pictures from strangers: odd ones are made plain, hostile ones are refused with a reason."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from webui.errors import AppError
from webui.images import fitting_suffix, open_picture, small_picture
from webui.reader_process import ReaderProcess


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "RGB"])
def test_each_mode_becomes_rgb(tmp_path: Path, mode: str):
    path = tmp_path / "a.tiff"
    Image.new("RGB", (8, 6), "red").convert(mode).save(path)
    assert open_picture(path).mode == "RGB"


def test_transparency_is_kept(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("RGBA", (8, 6), (255, 0, 0, 10)).save(path)
    assert open_picture(path).mode == "RGBA"


def test_sixteen_bits_become_eight(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(path)
    assert open_picture(path).getpixel((0, 0)) == (255, 255, 255)


def test_a_turned_photo_is_upright(tmp_path: Path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4), "blue").save(path, exif=exif)
    assert open_picture(path).size == (4, 8)


def test_an_animation_gives_its_first_frame(tmp_path: Path):
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert open_picture(path).getpixel((0, 0))[0] > 200


def test_a_pdf_called_jpg_is_no_picture(tmp_path: Path):
    path = tmp_path / "scan.jpg"
    path.write_bytes(b"%PDF-1.7\n%%EOF")
    with pytest.raises(AppError, match="scan.jpg is not an image"):
        open_picture(path)


def test_a_cut_off_picture_is_damaged(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(AppError, match="a.png is damaged"):
        open_picture(path)


def test_a_picture_that_claims_a_million_rows_is_refused_unread(tmp_path: Path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    header = (1_000_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    )
    with pytest.raises(AppError, match="bomb.png"):
        open_picture(path)


def test_a_picture_of_one_endless_row_is_refused_unread(tmp_path: Path):
    Image.new("1", (1, 40_000)).save(tmp_path / "a.png")
    with pytest.raises(AppError, match="too large"):
        open_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "kind", "suffix"),
    [("cat.html", "PNG", ".png"), ("cat.JPEG", "JPEG", ".jpeg"), ("cat.png", "JPEG", ".jpg"),
     ("cat", "GIF", ".gif"), ("cat.svg", "WEBP", ".webp")],
)  # fmt: skip
def test_the_ending_is_that_of_the_content(tmp_path: Path, name: str, kind: str, suffix: str):
    Image.new("RGB", (8, 6), "red").save(tmp_path / name, kind)
    assert fitting_suffix(tmp_path / name) == suffix


def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(AppError, match="no regular file"):
        open_picture(tmp_path / "a.png")


def test_a_picture_that_takes_too_much_memory_costs_nothing_else(tmp_path: Path):
    Image.new("RGB", (3000, 3000)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 6), "red").save(tmp_path / "b.png")
    reader = ReaderProcess(memory_bytes=60 << 20)
    with pytest.raises(AppError, match="a.png is damaged"):
        open_picture(tmp_path / "a.png", reader)
    assert open_picture(tmp_path / "b.png", reader).getpixel((0, 0)) == (255, 0, 0)
    reader.close()


def test_small_pictures_have_the_sides_that_were_asked_for(tmp_path: Path):
    Image.new("RGB", (300, 100), "red").save(tmp_path / "a.jpg")
    data = small_picture(tmp_path / "a.jpg", 64)
    assert Image.open(io.BytesIO(data)).size == (64, 21)
