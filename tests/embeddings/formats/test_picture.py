"""Pictures with an embedding inside: by text, by pixels, and pictures that only look so."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.embeddings.embedding_parts import embedding, rows
from webui.embeddings import formats
from webui.embeddings.formats import picture, picture_pixels


def noise(width: int = 96, height: int = 80) -> Image.Image:
    random = numpy.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=numpy.uint8))


def with_text(path: Path, text: str) -> Path:
    texts = PngInfo()
    texts.add_text(picture.TEXT_KEY, text)
    noise().save(path, pnginfo=texts)
    return path


def test_the_text_of_a_png_holds_the_embedding(tmp_path: Path):
    data = {"string_to_param": {"*": {"TORCHTENSOR": rows(1).tolist()}}, "name": "in", "step": 7}
    text = base64.b64encode(json.dumps(data).encode()).decode()
    found = formats.read(with_text(tmp_path / "Outer.png", text))
    assert torch.equal(found.vectors["clip_l"], rows(1))
    assert (found.name, found.inner_name, found.step) == ("Outer", "in", 7)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_the_pixels_hold_it_where_a_site_has_stripped_the_text(tmp_path: Path, suffix: str):
    path = tmp_path / f"cat{suffix}"
    formats.write(embedding(), path, "picture", image=noise())
    Image.open(path).convert("RGB").save(tmp_path / f"stripped{suffix}", lossless=True, exact=True)
    found = formats.inspect(tmp_path / f"stripped{suffix}")
    assert found.format == "A1111 picture"
    assert torch.equal(found.embeddings[0].vectors["clip_l"], rows())


def test_black_borders_around_the_picture_do_no_harm(tmp_path: Path):
    formats.write(embedding(), tmp_path / "cat.png", "picture", image=noise())
    inner = Image.open(tmp_path / "cat.png").convert("RGB")
    framed = Image.new("RGB", (inner.width + 20, inner.height + 10))
    framed.paste(inner, (10, 5))
    framed.save(tmp_path / "framed.png")
    assert torch.equal(formats.read(tmp_path / "framed.png").vectors["clip_l"], rows())


def test_the_picture_itself_is_kept_between_the_strips(tmp_path: Path):
    formats.write(embedding(), tmp_path / "cat.png", "picture", image=noise())
    pixels = numpy.asarray(Image.open(tmp_path / "cat.png"))
    side = (pixels.shape[1] - 96) // 2
    assert numpy.array_equal(pixels[:, side : side + 96], numpy.asarray(noise()))


def test_the_fixed_sequence_is_the_one_that_a1111_mixes_with():
    state, expected = 0, []
    for _ in range(300):
        state = (1664525 * state + 1013904223) % 2**32
        expected.append(state % 255)
    assert picture_pixels._sequence(300).tolist() == expected


def test_the_pixels_are_laid_out_as_other_programs_expect_them(tmp_path: Path):
    """Read step by step as the format is described, with nothing of ours."""
    formats.write(embedding(), tmp_path / "cat.png", "picture", image=noise())
    low_bits = numpy.asarray(Image.open(tmp_path / "cat.png").convert("RGB")) & 0x0F
    black = [x for x in range(low_bits.shape[1]) if not low_bits[:, x].any()]
    halves = []
    for strip in (low_bits[:, : black[0]], low_bits[:, black[-1] + 1 :]):
        state, numbers = 0, []
        for value in strip.reshape(-1).tolist():
            state = (1664525 * state + 1013904223) % 2**32
            numbers.append(value ^ (state % 255 & 0x0F))
        halves.append(numbers)
    packed = bytes(high << 4 | low for low, high in zip(*halves, strict=True))
    data = json.loads(zlib.decompressobj().decompress(packed))
    assert data["string_to_param"]["*"]["TORCHTENSOR"] == rows().tolist()
    assert (data["name"], data["step"]) == ("inner cat", 500)


@pytest.mark.parametrize("make", ["plain", "black", "preview", "jpeg", "damaged"])
def test_a_plain_picture_is_no_embedding_and_no_fault(tmp_path: Path, make: str):
    path = tmp_path / "x.png"
    if make == "black":
        Image.new("RGB", (64, 64)).save(path)
    elif make == "damaged":
        noise().save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif make == "jpeg":
        noise().save(path, "JPEG")
    else:
        noise().save(path)
    with pytest.raises(formats.NoEmbedding):
        formats.inspect(path)


def test_a_zlib_bomb_in_the_pixels_is_refused(tmp_path: Path):
    bomb = picture_pixels.insert(noise(96, 512), b"\0" * (48 << 20))
    bomb.save(tmp_path / "bomb.png")
    with pytest.raises(formats.Refused, match="unpack to more"):
        formats.read(tmp_path / "bomb.png")


def test_a_picture_that_claims_a_billion_pixels_is_not_decoded(tmp_path: Path):
    buffer = io.BytesIO()
    noise().save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = (40_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(formats.NoEmbedding):
        formats.inspect(tmp_path / "huge.png")


@pytest.mark.parametrize(
    "content",
    [
        "no base64 at all",
        base64.b64encode(b"no json").decode(),
        base64.b64encode(b'{"string_to_param": {"*": {"TORCHTENSOR": [[1], [1, 2]]}}}').decode(),
        base64.b64encode(b'{"string_to_param": {"*": {"TORCHTENSOR": "text"}}}').decode(),
        base64.b64encode(b"[" * 100_000).decode(),
        base64.b64encode(b'{"a": 5}').decode(),
    ],
)
def test_damaged_data_in_the_text_is_refused_with_a_reason(tmp_path: Path, content: str):
    with pytest.raises(formats.Refused) as refused:
        formats.read(with_text(tmp_path / "x.png", content))
    assert not isinstance(refused.value, formats.NoEmbedding)
