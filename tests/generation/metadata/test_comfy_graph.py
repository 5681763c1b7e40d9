"""Graphs of ComfyUI inside pictures become requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui.generation.metadata.infotext import read_infotext
from webui.generation.metadata.png_info import read_picture


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


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
