"""Writing and reading back is exact; strays are told apart; diffusers loads what we write."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
import torch

from tests.embeddings.embedding_parts import embedding, rows
from webui.embeddings import formats
from webui.embeddings.embedding import hash_vectors

KINDS = [
    ("a1111", ".pt"),
    ("diffusers", ".bin"),
    ("safetensors", ".safetensors"),
    ("picture", ".png"),
    ("picture", ".webp"),
]


@pytest.mark.parametrize(("kind", "suffix"), KINDS)
@pytest.mark.parametrize(
    "encoders",
    [{"clip_l": 768}, {"clip_h": 1024}, {"clip_l": 128}, {"clip_l": 768, "clip_g": 1280}],
)
def test_a_round_trip_is_exact(tmp_path: Path, kind, suffix: str, encoders):
    made = embedding("cat", **{key: rows(3, width) for key, width in encoders.items()})
    formats.write(made, tmp_path / f"cat{suffix}", kind)
    found = formats.read(tmp_path / f"cat{suffix}")
    assert list(found.vectors) == list(encoders)
    assert all(torch.equal(found.vectors[key], made.vectors[key]) for key in encoders)
    assert found.content_hash == hash_vectors(made.vectors)
    if kind != "diffusers":
        assert (found.step, found.trained_on, found.trained_on_hash, found.inner_name) == (
            500,
            "plain-model",
            "6ce0161689",
            "inner cat",
        )


def test_the_content_hash_survives_conversion_and_the_file_hash_does_not(tmp_path: Path):
    hashes, contents = set(), set()
    for number, (kind, suffix) in enumerate(KINDS):
        path = tmp_path / f"{number}{suffix}"
        formats.write(embedding("cat"), path, kind)
        found = formats.inspect(path)
        hashes.add(found.short_hash)
        contents.add(found.embeddings[0].content_hash)
    assert len(hashes) == len(KINDS) and len(contents) == 1


def test_the_recipe_goes_into_the_metadata(tmp_path: Path):
    path = tmp_path / "cat.safetensors"
    formats.write(embedding("cat"), path, "safetensors", {"recipe": '{"steps": 500}'})
    facts = formats.inspect(path).metadata
    assert facts["recipe"] == '{"steps": 500}'
    assert facts["vectors"] == "2" and facts["trained_on"] == "plain-model"


def test_the_short_hash_is_that_of_the_bytes(tmp_path: Path):
    import hashlib

    path = tmp_path / "cat.pt"
    formats.write(embedding("cat"), path, "a1111")
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    assert formats.inspect(path).short_hash == whole[:12]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>Log in</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        (b"just some notes\n", "text file"),
        (b"\0" * 5000, "zeros"),
        (b"\x93NUMPY\x01\x00garbage", "no known format"),
        (b"PK\x03\x04 and nothing more", "damaged"),
        (b"PK\x05\x06" + b"\0" * 18, "no known format"),
        (b"\x80\x02", "damaged"),
        (b"\x80\x02}q\x00.", "not one of PyTorch"),
        (b"\x01\xfe\x02\xfd" * 16, "no known format"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_strays_are_refused_by_what_they_are(tmp_path: Path, content, expected: str, suffix: str):
    (tmp_path / f"x{suffix}").write_bytes(content)
    with pytest.raises(formats.Refused, match=expected) as refused:
        formats.read(tmp_path / f"x{suffix}")
    assert refused.value.reason.endswith(".") and "x" + suffix in str(refused.value)


@pytest.mark.parametrize("start", [b"", b"\x80\x02}q\x00(", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"])
def test_a_sparse_file_of_four_gigabytes_is_refused_without_reading_it(tmp_path: Path, start):
    path = tmp_path / "sparse.pt"
    path.write_bytes(start)
    with open(path, "r+b") as file:
        file.truncate(4 << 30)
    with pytest.raises(formats.Refused):
        formats.read(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(formats.Refused, match="pipe"):
        formats.read(tmp_path / "pipe.pt")
    with pytest.raises(formats.Refused, match="cannot be opened"):
        formats.read(tmp_path / "missing.pt")


@pytest.mark.parametrize(("kind", "suffix"), KINDS[:4])
def test_damage_anywhere_gives_vectors_or_a_refusal_and_nothing_else(
    tmp_path: Path, kind, suffix: str
):
    formats.write(embedding("x", clip_l=rows(1, 32)), tmp_path / f"x{suffix}", kind)
    whole = (tmp_path / f"x{suffix}").read_bytes()
    random = Random(0)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(random.choice((1, 3, 20))):
            data[random.randrange(min(len(data), 700))] = random.choice((0, 0x7F, 0xFF, 0x2E))
        (tmp_path / f"damaged{suffix}").write_bytes(data)
        try:
            found = formats.read(tmp_path / f"damaged{suffix}")
        except formats.Refused as refused:
            assert refused.reason
        else:
            assert torch.isfinite(next(iter(found.vectors.values()))).all()


def _tiny_pipeline(width: int):
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(
        Path(__file__).resolve().parents[3] / "models" / "starter" / "tokenizer"
    )
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    return StableDiffusionPipeline(
        vae=None,
        text_encoder=CLIPTextModel(config),
        tokenizer=tokenizer,
        unet=None,
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.mark.parametrize(("kind", "suffix"), KINDS[:3])
def test_diffusers_itself_loads_what_we_write(tmp_path: Path, kind, suffix: str):
    made = embedding("zzcat", clip_l=rows(2, 32))
    formats.write(made, tmp_path / f"zzcat{suffix}", kind)
    pipeline = _tiny_pipeline(32)
    pipeline.load_textual_inversion(tmp_path, weight_name=f"zzcat{suffix}", token="zzcat")
    ids = pipeline.tokenizer.convert_tokens_to_ids(["zzcat", "zzcat_1"])
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[ids], rows(2, 32))


def test_diffusers_finds_the_token_by_itself_in_a_safetensors_file(tmp_path: Path):
    formats.write(embedding("zzcat", clip_l=rows(1, 32)), tmp_path / "a.safetensors", "safetensors")
    pipeline = _tiny_pipeline(32)
    pipeline.load_textual_inversion(tmp_path, weight_name="a.safetensors")
    assert "zzcat" in pipeline.tokenizer.get_vocab()
