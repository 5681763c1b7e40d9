"""A model that is kept is the same model, and its files are known again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from webui.models.catalog import Checkpoint, find_checkpoint
from webui.models.model import Model
from webui.models.model_cache import copied, fingerprint, offload_to_cpu, on_device, room_bytes

CPU = torch.device("cpu")


def test_a_copy_computes_the_same_and_shares_no_memory(tiny_model: Model):
    copy = copied(tiny_model, CPU)
    latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 128)
    ids = torch.randint(0, 1000, (1, 77))
    with torch.no_grad():
        results = [
            (
                model.unet(latents, 5, text)[0],
                model.vae.decode(latents)[0],
                model.text_encoders[0].model(ids)[0],
            )
            for model in (tiny_model, copy)
        ]
    torch.testing.assert_close(*results)
    for old, new in zip(tiny_model.unet.parameters(), copy.unet.parameters(), strict=True):
        assert old.data_ptr() != new.data_ptr() and not new.requires_grad


def test_what_is_copied_from_a_device_leaves_the_model_there_as_it_was(tiny_model: Model):
    elsewhere = copied(tiny_model, torch.device("meta"))
    assert elsewhere.device.type == elsewhere.unet.device.type == "meta"
    assert tiny_model.unet.device == tiny_model.device == CPU
    assert offload_to_cpu(tiny_model) is tiny_model
    assert room_bytes(tiny_model) == 0 and room_bytes(elsewhere) > 25e6
    half = replace(copied(tiny_model, CPU), device=torch.device("meta"))
    assert on_device(half, CPU).device == CPU


def test_changed_new_and_missing_files_are_noticed(tmp_path: Path, tiny_checkpoint: Path):
    folder = find_checkpoint(tiny_checkpoint, "tiny")
    assert fingerprint(folder) == fingerprint(folder)
    assert any(path.endswith("model_index.json") for path, _, _ in fingerprint(folder))

    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    checkpoint = Checkpoint("mine", path, tmp_path)
    seen = [fingerprint(checkpoint)]
    os.utime(path, ns=(1, 1))
    seen.append(fingerprint(checkpoint))
    (tmp_path / "mine.yaml").write_text('parameterization: "v"')
    seen.append(fingerprint(checkpoint))
    (tmp_path / "mine.vae.safetensors").write_bytes(b"vae")
    seen.append(fingerprint(checkpoint))
    assert len(set(seen)) == len(seen) == 4
