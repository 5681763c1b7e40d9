"""Headers of safetensors files are read as the library reads them, and none of their lies."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save

from webui.tensor_files.safetensors import WrongSize, read_header
from webui.tensor_files.stored import Damaged


def opened(data: bytes):
    length = int.from_bytes(data[:8], "little")
    return read_header(
        data[8 : 8 + length], len(data), lambda start, size: data[start : start + size]
    )


def test_names_shapes_numbers_and_texts_are_those_that_were_saved():
    tensors = {"a": torch.randn(2, 3), "b": torch.arange(4), "c": torch.randn(3).bfloat16(),
               "none": torch.zeros(0, 4)}  # fmt: skip
    found, texts = opened(save(tensors, {"name": "x"}))
    assert texts == {"name": "x"}
    for name, tensor in tensors.items():
        assert found[name].shape == tuple(tensor.shape)
        assert found[name].read().tolist() == tensor.tolist()


@pytest.mark.parametrize(
    "claim",
    [{"shape": [2]}, {"shape": [-1]}, {"shape": [1] * 9}, {"shape": "x"}, {"shape": [1 << 41]},
     {"data_offsets": [0, 400]}, {"data_offsets": [4, 0]}, {"data_offsets": [0]},
     {"data_offsets": [-4, 0]}, {"shape": None}],
    ids=str,
)  # fmt: skip
def test_claims_that_cannot_be_are_refused(claim: dict[str, object]):
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | claim
    header = json.dumps({"x": entry}).encode()
    with pytest.raises((Damaged, WrongSize)):
        opened(len(header).to_bytes(8, "little") + header + b"\0" * 4)


def test_types_that_nobody_can_read_keep_their_names():
    header = b'{"x":{"dtype":"NEW","shape":[2],"data_offsets":[0,4]}}'
    found, _ = opened(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    assert found["x"].shape == (2,) and not found["x"].is_floating
    with pytest.raises(Damaged):
        found["x"].read()
