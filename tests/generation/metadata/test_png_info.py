"""Parameters are found inside pictures of several programs, and hostile pictures are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui.errors import AppError
from webui.generation.metadata.infotext import read_infotext
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


def graph(**sampler: object) -> dict[str, object]:
    """A graph of ComfyUI with its usual nodes."""
    inputs = {
        "seed": 42, "steps": 25, "cfg": 6.5, "sampler_name": "euler_ancestral",
        "scheduler": "karras", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0],
        "negative": ["7", 0], "latent_image": ["5", 0],
    }  # fmt: skip
    return {
        "3": {"class_type": "KSampler", "inputs": inputs | sampler},
        "4": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "sd\\v1-5.safetensors"},
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768}},
        "6": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "a castle, (embedding:mood:1.2)", "clip": ["4", 1]},
        },
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0], "clip": ["4", 1]}},
        "8": {"class_type": "Text", "inputs": {"string": "blurry"}},
    }


@pytest.mark.parametrize("key", ["png", "webp"])
def test_a_graph_of_comfyui_becomes_a_request(tmp_path: Path, key: str):
    path = tmp_path / f"a.{key}"
    if key == "png":
        png(path, prompt=json.dumps(graph()), workflow="{}")
    else:
        exif = Image.Exif()
        exif[0x0110] = "prompt:" + json.dumps(graph())
        Image.new("RGB", (8, 8)).save(path, exif=exif)
    inside = read_picture(path)
    assert inside is not None and inside.source == "ComfyUI graph"
    request, pairs = read_infotext(inside.text)
    assert request.prompt == "a castle, (embedding:mood:1.2)"
    assert request.negative_prompt == "blurry"
    assert (request.sampler, request.schedule_type) == ("Euler a", "Karras")
    assert (request.steps, request.cfg_scale, request.seed) == (25, 6.5, 42)
    assert (request.width, request.height, request.emphasis) == (512, 768, "ComfyUI")
    assert pairs["Model"] == "v1-5"


@pytest.mark.parametrize(
    "prompt",
    ["{", "[1]", "{}", '{"1": 2}', '{"1": {"inputs": []}}', "{" * 50_000, "[" * 50_000],
)
def test_a_broken_graph_describes_nothing(tmp_path: Path, prompt: str):
    assert read_picture(png(tmp_path / "a.png", prompt=prompt)) is None


def test_what_can_be_followed_of_a_graph_with_circles_and_gaps_is_told(tmp_path: Path):
    nodes = graph(positive=["3", 0], model=[[], {}], latent_image=["9", 0], seed=None)
    inside = read_picture(png(tmp_path / "a.png", prompt=json.dumps(nodes)))
    assert inside is not None
    _, pairs = read_infotext(inside.text)
    assert pairs["Steps"] == "25" and not pairs.keys() & {"Seed", "Size", "Model"}


def test_what_is_no_picture_or_too_long_is_refused_with_a_reason(tmp_path: Path):
    (tmp_path / "a.png").write_text("<svg onload=alert(1)>")
    with pytest.raises(AppError, match="not a picture"):
        read_picture(tmp_path / "a.png")
    with pytest.raises(AppError, match="characters"):
        read_picture(png(tmp_path / "b.png", parameters="a" * (MAX_TEXT + 1)))


def test_a_bomb_in_a_chunk_is_refused(tmp_path: Path):
    info = PngInfo()
    info.add_text("parameters", "a" * 5_000_000, zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(AppError, match="damaged"):
        read_picture(tmp_path / "a.png")
