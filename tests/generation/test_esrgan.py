"""Networks that enlarge are read from files of every trainer, and draw in squares without seams."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.hostile.builders import EMBEDDINGS
from webui.errors import UnreadableFile
from webui.generation.esrgan import read_upscaler

CPU = torch.device("cpu")
Tensors = dict[str, torch.Tensor]


def dense_network(doublings: int = 2, fold: int = 1) -> Tensors:
    """A small ESRGAN with today's names: 2 blocks, 8 channels, growth 4."""
    noise = torch.Generator().manual_seed(0)
    made: Tensors = {}

    def add(name: str, outputs: int, inputs: int) -> None:
        made[f"{name}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=noise) * 0.1
        made[f"{name}.bias"] = torch.randn(outputs, generator=noise) * 0.1

    add("conv_first", 8, 3 * fold**2)
    for block in range(2):
        for part in (1, 2, 3):
            for number in range(1, 6):
                out = 8 if number == 5 else 4
                add(f"body.{block}.rdb{part}.conv{number}", out, 8 + 4 * (number - 1))
    add("conv_body", 8, 8)
    for number in range(1, doublings + 1):
        add(f"conv_up{number}", 8, 8)
    add("conv_hr", 8, 8)
    add("conv_last", 3, 8)
    return made


def compact_network(scale: int = 2, strength: float = 0.1) -> Tensors:
    noise = torch.Generator().manual_seed(0)
    sizes = [(8, 3), (8, 8), (3 * scale**2, 8)]
    made: Tensors = {}
    for place, (outputs, inputs) in enumerate(sizes):
        weight = torch.randn(outputs, inputs, 3, 3, generator=noise)
        made[f"body.{2 * place}.weight"] = weight * strength
        made[f"body.{2 * place}.bias"] = torch.zeros(outputs)
        if place < len(sizes) - 1:
            made[f"body.{2 * place + 1}.weight"] = torch.full((outputs,), 0.2)
    return made


def names_of_2018(network: Tensors, doublings: int) -> Tensors:
    tail = {f"conv_up{n}": 3 * n for n in range(1, doublings + 1)}
    end = max(tail.values(), default=0) + 2
    tail |= {"conv_hr": end, "conv_last": end + 2}
    renamed: Tensors = {}
    for name, tensor in network.items():
        name = re.sub(r"^conv_first", "model.0", name)
        name = re.sub(r"^body\.(\d+)\.rdb(\d)\.(conv\d)", r"model.1.sub.\1.RDB\2.\3.0", name)
        name = re.sub(r"^conv_body", "model.1.sub.2", name)
        for today, number in tail.items():
            name = re.sub(f"^{today}(?=\\.)", f"model.{number}", name)
        renamed[name] = tensor
    return renamed


def middle_names(network: Tensors) -> Tensors:
    """The names that ESRGAN's authors used from 2019 on."""
    changes = [("conv_body", "trunk_conv"), ("body.", "RRDB_trunk."), ("rdb", "RDB"),
               ("conv_up", "upconv"), ("conv_hr", "HRconv")]  # fmt: skip
    renamed: Tensors = {}
    for name, tensor in network.items():
        for today, then in changes:
            name = name.replace(today, then)
        renamed[name] = tensor
    return renamed


def picture(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("doublings", "fold", "scale"), [(2, 1, 4), (2, 2, 2), (2, 4, 1), (1, 1, 2)]
)
def test_esrgan_enlarges_by_its_scale(tmp_path: Path, doublings: int, fold: int, scale: int):
    save_file(dense_network(doublings, fold), tmp_path / "net.safetensors")
    network = read_upscaler(tmp_path / "net.safetensors", CPU)
    assert network.scale == scale
    assert network.enlarge(picture(16, 24)).shape == (1, 3, 16 * scale, 24 * scale)


@pytest.mark.parametrize("doublings", [1, 2, 3])
def test_files_of_all_years_hold_the_same_network(tmp_path: Path, doublings: int):
    today = dense_network(doublings)
    save_file(today, tmp_path / "today.safetensors")
    torch.save({"params": {}, "params_ema": middle_names(today)}, tmp_path / "middle.pth")
    old = names_of_2018(today, doublings)
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    drawn = [
        read_upscaler(tmp_path / name, CPU).enlarge(picture(8, 8))
        for name in ("today.safetensors", "middle.pth", "old.pth")
    ]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])


def test_squares_leave_no_seams(tmp_path: Path):
    save_file(compact_network(), tmp_path / "net.safetensors")
    network = read_upscaler(tmp_path / "net.safetensors", CPU)
    whole = network.enlarge(picture(50, 70))
    parts = network.enlarge(picture(50, 70), tile=32, overlap=16)
    assert whole.shape == (1, 3, 100, 140)
    assert (whole - parts).abs().max() < 0.05 < (whole - whole.mean()).abs().max()
    assert (whole - parts).abs().mean() < 0.002


def test_a_compact_network_adds_to_the_enlarged_picture(tmp_path: Path):
    save_file(compact_network(strength=0), tmp_path / "net.safetensors")
    large = read_upscaler(tmp_path / "net.safetensors", CPU).enlarge(picture(9, 7))
    assert torch.allclose(large[..., ::2, ::2], picture(9, 7))


@pytest.mark.parametrize("name", [name for name in EMBEDDINGS if not name.endswith(".png")])
def test_hostile_files_are_refused(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(EMBEDDINGS[name]())
    with pytest.raises(UnreadableFile):
        read_upscaler(path, CPU)


@pytest.mark.parametrize(
    "left_out", ["conv_last.weight", "conv_hr.bias", "body.1.rdb2.conv3.weight"]
)
def test_a_file_that_is_no_upscaler_is_refused_by_name(tmp_path: Path, left_out: str):
    network = dense_network()
    del network[left_out]
    save_file(network, tmp_path / "half.safetensors")
    with pytest.raises(UnreadableFile, match="half.safetensors is no upscaler"):
        read_upscaler(tmp_path / "half.safetensors", CPU)
