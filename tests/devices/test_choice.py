"""Devices and precisions are as asked for, else what the machine is fast in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from webui.devices import choice, processor
from webui.devices.choice import EXACT_BELOW_BYTES, allow_tf32, choose_device, choose_dtype
from webui.errors import AppError

CPU = torch.device("cpu")


def test_the_device_asked_for_is_taken_or_refused():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    for wish in ("cuda:99", "toaster"):
        with pytest.raises(AppError, match=f"--device {wish} cannot be used"):
            choose_device(wish)


def test_the_precision_asked_for_is_taken(tmp_path: Path):
    wishes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    for wish, dtype in wishes.items():
        assert choose_dtype(CPU, wish, 10**10, tmp_path / "cache.json") == dtype


@pytest.mark.parametrize("share, chosen", [(0.5, torch.bfloat16), (0.95, torch.float32)])
def test_a_processor_takes_bf16_for_large_models_where_it_is_faster(
    tmp_path, monkeypatch, share, chosen
):
    monkeypatch.setattr(processor, "has_bf16_instructions", lambda: True)
    monkeypatch.setattr(processor, "bf16_time_share", lambda: share)
    cache = tmp_path / "cache.json"
    assert choose_dtype(CPU, "auto", EXACT_BELOW_BYTES - 1, cache) == torch.float32
    assert not cache.exists(), "small models need no trial"
    assert choose_dtype(CPU, "auto", EXACT_BELOW_BYTES, cache) == chosen


def test_other_devices_need_no_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "faster_in_bf16", pytest.fail)
    mps = torch.device("mps")
    assert choose_dtype(mps, "auto", 10**10, tmp_path / "cache.json") == torch.float16


@pytest.fixture
def _exact_again() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("_exact_again")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
def test_gpus_compute_in_tf32_beside_half_precision_and_exactly_beside_float32(dtype: torch.dtype):
    allow_tf32(torch.device("cuda"), dtype)
    allow_tf32(CPU, torch.float32 if dtype != torch.float32 else torch.float16)  # changes nothing
    allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert allowed == (dtype != torch.float32,) * 2
