"""LoRAs act while they are called and leave no trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parts import Library
from webui.devices.compiling import Compiled
from webui.generation.engine import Picture, generate
from webui.generation.loras import applied
from webui.generation.request import default_request
from webui.models.catalog import STARTER, find_checkpoint
from webui.models.loader import load
from webui.models.model import Model
from webui.prompting.conditioning import Conditioner
from webui.prompting.loras import LoraCall, list_loras
from webui.settings import Settings


def write_lora(model: Model, folder: Path, scale: float = 1.0) -> Path:
    """Write a LoRA for a model's UNet and text encoder into ``folder/styles``."""
    from diffusers import StableDiffusionPipeline

    noise = torch.Generator().manual_seed(0)

    def pair(prefix: str, layer: torch.nn.Linear) -> dict[str, torch.Tensor]:
        return {
            f"{prefix}.lora_A.weight": scale * torch.randn(2, layer.in_features, generator=noise),
            f"{prefix}.lora_B.weight": torch.randn(layer.out_features, 2, generator=noise),
        }

    unet = {}
    for name, layer in model.unet.named_modules():
        if name.endswith("attn2.to_v"):
            unet |= pair(name, layer)
    text = {}
    for name, layer in model.text_encoders[0].model.named_modules():
        if name.endswith("v_proj"):
            text |= pair(name, layer)
    StableDiffusionPipeline.save_lora_weights(
        folder / "styles", unet_lora_layers=unet, text_encoder_lora_layers=text,
        weight_name="My_Style.safetensors",
    )  # fmt: skip
    return folder


@pytest.fixture
def loras(tiny_model: Model, tmp_path: Path) -> Path:
    """A folder with one LoRA for the tiny model."""
    return write_lora(tiny_model, tmp_path)


def output(model: Model) -> torch.Tensor:
    noise = torch.Generator().manual_seed(3)
    latents = torch.randn(1, 4, 8, 8, generator=noise)
    states = torch.randn(1, 77, 128, generator=noise)
    with torch.no_grad():
        return model.unet(latents, 500, encoder_hidden_states=states).sample


def test_a_lora_acts_inside_the_block_with_its_strength_and_is_gone_after_it(
    tiny_model: Model, loras: Path
):
    before = output(tiny_model)
    with applied(tiny_model, [LoraCall("my_style", 1, 1)], list_loras(loras)) as strong:
        full = output(tiny_model)
    with applied(tiny_model, [LoraCall("my_style", 0, 0.5)], list_loras(loras)):
        half = output(tiny_model)
    assert strong.warnings == ()
    assert strong.in_text_encoders[0][1] == 1
    assert not torch.equal(full, before)
    assert (half - before).abs().mean() < (full - before).abs().mean()
    assert torch.equal(output(tiny_model), before)


def test_where_the_unet_is_compiled_loras_change_its_weights_in_place_and_no_module(
    tiny_model: Model, loras: Path
):
    expected, before = output(tiny_model), dict(tiny_model.unet.named_parameters())
    places = {name: each.data_ptr() for name, each in before.items()}
    calls, files = [LoraCall("my_style", 1, 0.5)], list_loras(loras)
    with applied(tiny_model, calls, files):
        beside = output(tiny_model)
    compiled = replace(tiny_model, compiled=Compiled(tiny_model.unet))
    with applied(compiled, calls, files) as put:
        inside = dict(compiled.unet.named_parameters())
        torch.testing.assert_close(output(compiled), beside)
        assert {name: each.data_ptr() for name, each in inside.items()} == places
        assert put.warnings == () and put.in_text_encoders
    assert torch.equal(output(tiny_model), expected)


def test_a_file_that_is_no_lora_is_a_warning(tiny_model: Model, tmp_path: Path):
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    with applied(tiny_model, [LoraCall("broken", 1, 1)], list_loras(tmp_path)) as result:
        pass
    assert "“broken” was left out" in result.warnings[0]


def test_a_missing_lora_is_a_warning_with_the_nearest_name(tiny_model: Model, loras: Path):
    with applied(tiny_model, [LoraCall("my_stile", 1, 1)], list_loras(loras)) as result:
        pass
    assert result.warnings == ("There is no LoRA “my_stile”; did you mean “My_Style”?",)


@pytest.mark.slow
def test_on_the_shipped_model_a_lora_changes_the_picture_as_much_as_its_strength(tmp_path: Path):
    checkpoint = find_checkpoint(Settings().models_dir, STARTER)
    model = load(checkpoint, torch.device("cpu"), torch.float32)
    folder, conditioner = write_lora(model, tmp_path, scale=0.05), Conditioner()

    def drawn(prompt: str) -> np.ndarray:
        request = default_request(model.defaults, prompt=prompt, steps=4, seed=1)
        *_, last = generate(model, request, Library(), conditioner, loras=folder)
        assert isinstance(last, Picture) and last.warnings == ()
        return np.asarray(last.image, dtype=np.float32)

    plain, none, half, full = (
        drawn(f"a red circle{call}")
        for call in ("", " <lora:My_Style:0>", " <lora:My_Style:0.5>", " <lora:My_Style:1>")
    )
    assert np.array_equal(none, plain)
    assert 0.5 < np.abs(half - plain).mean() < np.abs(full - plain).mean()
    assert np.array_equal(drawn("a red circle"), plain), "it leaves nothing behind"
