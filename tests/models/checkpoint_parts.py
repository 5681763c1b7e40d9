"""What several tests of single files do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from webui.errors import AppError
from webui.models.catalog import Checkpoint
from webui.models.model import Model
from webui.models.single_file import load_single_file

CPU = torch.device("cpu")


UNET_FIRST = "model.diffusion_model.input_blocks.0.0.weight"


def load_from(path: Path, configs: Path | None = None, dtype: torch.dtype = torch.float32) -> Model:
    return load_single_file(Checkpoint(path.stem, path), CPU, dtype, configs=configs)


def refusal(path: Path, state: dict) -> str:
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    with pytest.raises(AppError) as error:
        load_from(path)
    return str(error.value)


def assert_weights(model: Model, parts: dict, half: bool, unet_dtype=torch.float32) -> None:
    """Every weight of the model is exactly the one that was written."""

    def same(network, written, dtype):
        for name, tensor in network.state_dict().items():
            expected = written[name].half() if half else written[name]
            assert torch.equal(tensor, expected.to(dtype)), name

    same(model.unet, parts["unet"], unet_dtype)
    same(model.vae, parts["vae"], torch.float32)
    for encoder, part in zip(model.text_encoders, ("text_encoder", "text_encoder_2"), strict=False):
        same(encoder.model, parts[part], torch.float32)
