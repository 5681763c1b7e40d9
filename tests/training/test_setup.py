"""What a run computes with: precision and sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from webui.devices.low_precision import low_precision_copy
from webui.models.model import Model
from webui.training.recipe import Recipe
from webui.training.setup import compute_dtype_of, precision_advice


@pytest.mark.parametrize(
    ("precision", "half"),
    [("fp32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_a_float32_unet_computes_as_it_is_asked_to(model: Model, precision: str, half: object):
    recipe = Recipe(mixed_precision=precision)
    assert compute_dtype_of(recipe, model) == half
    assert compute_dtype_of(recipe, replace(model, dtype=torch.bfloat16)) is None, "as it is loaded"


@pytest.mark.parametrize(
    ("able", "half"),
    [({"avx2": True}, None), ({"avx512_bf16": True}, torch.bfloat16), ({}, None)],
)
def test_a_processor_computes_in_bf16_if_it_is_made_for_it(
    model: Model, monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], half: object
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert compute_dtype_of(Recipe(), model) == half


def test_a_half_copy_predicts_as_the_original_and_leaves_it_alone(model: Model):
    """Its attention is our own; the answer and the gradient by the words must be diffusers'."""
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    copied = low_precision_copy(model.unet, torch.bfloat16)
    assert {weight.dtype for weight in copied.parameters()} == {torch.bfloat16}
    assert not any(weight.requires_grad for weight in copied.parameters())
    found = {}
    for unet in (model.unet, copied):
        draw = torch.Generator().manual_seed(1)
        noisy = torch.randn(2, 4, 4, 4, generator=draw).to(unet.dtype)
        words = torch.randn(2, 77, 32, generator=draw).requires_grad_()
        with torch.enable_grad():
            answer = unet(noisy, torch.tensor([20, 700]), words.to(unet.dtype)).sample.float()
            [gradient] = torch.autograd.grad(answer.square().mean(), words)
        found[unet] = (answer.detach().flatten(), gradient.flatten())
    for full, half in zip(*found.values(), strict=True):
        assert torch.cosine_similarity(full, half, dim=0) > 0.99
    after = model.unet.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_precision_that_the_loaded_model_does_not_have_is_told(model: Model):
    half = replace(model, dtype=torch.bfloat16)
    assert "--precision fp32" in precision_advice(Recipe(mixed_precision="fp32"), half)
    assert precision_advice(Recipe(mixed_precision="bf16"), half) is None
    assert precision_advice(Recipe(), half) is None
    assert precision_advice(Recipe(mixed_precision="fp16"), model) is None
