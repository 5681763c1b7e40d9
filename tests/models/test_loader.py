"""Diffusers folders load whole or say which part is wrong; devices are chosen sensibly."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from webui.errors import AppError
from webui.files import sha256
from webui.models import loader
from webui.models.catalog import Checkpoint
from webui.models.loader import load

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("no_network")
UNET = Path("unet") / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that may be damaged."""
    return shutil.copytree(tiny_checkpoint / "tiny", tmp_path / "models" / "mine")


def load_folder(folder: Path):
    return load(Checkpoint(folder.name, folder), CPU, torch.float32)


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_folder_loads_frozen_with_hash_family_and_defaults(folder):
    model = load_folder(folder)
    assert (model.name, model.family, model.prediction_type) == ("mine", "starter", "epsilon")
    assert model.short_hash == sha256(folder / UNET)[:10]
    assert model.defaults["width"] == 64
    for network in (model.unet, model.vae, model.text_encoders[0].model):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_bf16_model_decodes_in_bf16_and_learns_through_float32(folder):
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        model = load(Checkpoint(folder.name, folder), CPU, dtype)
        low = dtype if dtype == torch.bfloat16 else torch.float32
        assert (model.unet.dtype, model.decoder_dtype) == (dtype, low)
        assert model.vae.dtype == model.text_encoders[0].model.dtype == torch.float32


def test_a_folder_with_fp16_files_only_loads(folder):
    for part in ("unet", "vae", "text_encoder"):
        [path] = (folder / part).glob("*.safetensors")
        weights = {key: value.half() for key, value in load_file(path).items()}
        path.unlink()
        save_file(weights, path.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})
    model = load_folder(folder)
    assert model.dtype == torch.float32
    assert model.short_hash == sha256((folder / UNET).with_suffix(".fp16.safetensors"))[:10]


def test_text_encoders_saved_by_older_libraries_load(folder, tiny_model):
    path = folder / "text_encoder" / "model.safetensors"
    old = {f"text_model.{key}": value for key, value in load_file(path).items()}
    old["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(old, path, metadata={"format": "pt"})
    loaded, expected = load_folder(folder), tiny_model
    for network, other in zip(loaded.text_encoders, expected.text_encoders, strict=True):
        for name, tensor in network.model.state_dict().items():
            assert torch.equal(tensor, other.model.state_dict()[name]), name


@pytest.mark.parametrize(
    "kind, words",
    [
        ("StableDiffusionInpaintPipeline", "is a StableDiffusionInpaintPipeline"),
        ("StableDiffusion3Pipeline", "is a StableDiffusion3Pipeline"),
        (None, "model of unknown kind"),
    ],
)
def test_other_pipelines_are_refused_by_name(folder, kind, words):
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind} if kind else {}))
    with pytest.raises(AppError, match=f"mine {words}|mine is a {words}"):
        load_folder(folder)


def test_an_in_painting_folder_is_refused_before_its_weights_are_read(folder):
    change(folder / "unet" / "config.json", in_channels=9)
    (folder / UNET).unlink()
    with pytest.raises(AppError, match="mine is an in-painting model"):
        load_folder(folder)


def test_folders_with_the_same_vocabulary_share_what_is_made_of_it(folder, tiny_checkpoint):
    other = load_folder(tiny_checkpoint / "tiny")
    assert load_folder(folder).tokenizer is other.tokenizer
    (folder / "tokenizer" / ".ipynb_checkpoints").mkdir()
    os.mkfifo(folder / "tokenizer" / "pipe")
    assert load_folder(folder).tokenizer is other.tokenizer, "what is no file is passed over"
    vocabulary = folder / "tokenizer" / "vocab.json"
    swapped = json.loads(vocabulary.read_text())
    swapped["cat</w>"], swapped["dog</w>"] = swapped["dog</w>"], swapped["cat</w>"]
    vocabulary.write_text(json.dumps(swapped))
    mine = load_folder(folder).tokenizer
    assert mine("cat").input_ids == other.tokenizer("dog").input_ids


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer"])
def test_a_missing_part_is_named(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(AppError, match=part):
        load_folder(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_without_weights_is_named(folder, part):
    [path] = (folder / part).glob("*.safetensors")
    path.unlink()
    with pytest.raises(AppError, match=f"mine has no weights in its folder {part}/"):
        load_folder(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_a_truncated_file_is_named(folder, part, share):
    [path] = (folder / part).glob("*.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(AppError, match=f"{part}/{path.name} of mine could not be loaded"):
        load_folder(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_missing_weights_are_counted_and_not_made_up(folder, part):
    [path] = (folder / part).glob("*.safetensors")
    weights = load_file(path)
    del weights[sorted(weights)[-1]]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(AppError, match=f"{part}/.* of mine could not be loaded.* lacks 1 of"):
        load_folder(folder)


@pytest.mark.parametrize(
    "file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"]
)
@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_config_is_named(folder, file, content):
    (folder / file).write_text(content)
    with pytest.raises(AppError, match=Path(file).name):
        load_folder(folder)


def test_a_text_encoder_of_no_known_width_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("webui.models.model.family_of_widths", lambda widths: None)
    with pytest.raises(AppError, match="which no Stable Diffusion"):
        load_folder(folder)


def test_a_model_too_large_for_the_device_is_said_plainly(folder, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loader, "load_folder", full)
    with pytest.raises(AppError, match="does not fit into the memory of cpu"):
        load_folder(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_in_several_files_are_put_together(folder, tiny_model, part):
    [path] = (folder / part).glob("*.safetensors")
    names = sorted(weights := load_file(path))
    path.unlink()
    for number, half in enumerate((names[::2], names[1::2]), start=1):
        shard = path.with_stem(f"{path.stem}-{number:05d}-of-00002")
        save_file({name: weights[name] for name in half}, shard, metadata={"format": "pt"})
    loaded = load_folder(folder)
    network = loaded.text_encoders[0].model if part == "text_encoder" else getattr(loaded, part)
    found = network.state_dict()
    assert all(torch.equal(found[name], weights[name]) for name in found)
