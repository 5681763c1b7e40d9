"""Networks come to the device when they compute and leave for others; pictures stay the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import TINY_SIZE
from tests.parts import Library
from webui.generation.engine import Picture, generate
from webui.generation.request import GenerationRequest
from webui.models.loader import offloaded
from webui.models.model import Model
from webui.models.model_cache import copied, offload_to_cpu, on_device
from webui.prompting.chunks import Chunk
from webui.prompting.conditioning import Conditioner
from webui.prompting.encoding import encode

CPU = torch.device("cpu")
TEXT, UNET, VAE = "text_encoder_1", "unet", "vae"


@pytest.fixture
def model(tiny_model: Model) -> Model:
    return offloaded(copied(tiny_model, CPU), CPU, "model")


@pytest.fixture
def seen(model: Model) -> list[tuple[str, frozenset[str]]]:
    """Which networks are there at each computation, in their order."""
    seen: list[tuple[str, frozenset[str]]] = []
    clip = getattr(model.text_encoders[0].model, "text_model", model.text_encoders[0].model)
    for name, inside in (
        (TEXT, clip.encoder.layers[0]),
        (UNET, model.unet.conv_in),
        (VAE, model.vae.decoder.conv_in),
    ):
        inside.register_forward_pre_hook(
            lambda *_, name=name: seen.append((name, model.offloading.present))
        )
    return seen


def drawn(model: Model) -> np.ndarray:
    request = GenerationRequest(
        prompt="a red circle", steps=2, width=TINY_SIZE, height=TINY_SIZE, seed=3
    )
    events = list(generate(model, request, Library(), Conditioner()))
    assert isinstance(events[-1], Picture)
    return np.asarray(events[-1].image, dtype=int)


def test_a_picture_is_the_same_with_one_network_at_a_time(
    model: Model, tiny_model: Model, seen: list[tuple[str, frozenset[str]]]
):
    assert np.abs(drawn(model) - drawn(tiny_model)).max() <= 1
    assert {name for name, _ in seen} == {TEXT, UNET, VAE}
    assert all(present == {name} for name, present in seen)
    assert seen[0][0] == TEXT and seen[-1][0] == VAE


def test_while_gradients_are_taken_nothing_leaves(
    model: Model, seen: list[tuple[str, frozenset[str]]]
):
    drawn(model)  # in inference mode, which must leave weights that gradients go through
    seen.clear()
    latents = torch.randn(1, 4, 8, 8, requires_grad=True)
    hidden = encode(model, [Chunk(tuple(range(77)), (1.0,) * 77)]).hidden
    model.unet(latents, 5, hidden).sample.sum().backward()
    assert latents.grad is not None
    assert seen == [(TEXT, frozenset({VAE, TEXT})), (UNET, frozenset({VAE, TEXT, UNET}))]


def test_a_model_that_waits_takes_nothing_of_the_device_and_computes_when_asked(
    model: Model, tiny_model: Model
):
    drawn(model)
    assert model.offloading.present == {VAE}
    assert offload_to_cpu(model) is model
    assert model.offloading.present == frozenset()
    assert on_device(model, CPU) is model
    assert np.abs(drawn(model) - drawn(tiny_model)).max() <= 1


def test_only_the_vocabulary_stays_and_everything_else_moves(model: Model):
    text, unet, vae = model.offloading._parts
    moving = {id(weight) for weight in text.weights()}
    table = text.module.get_input_embeddings().weight
    assert {id(weight) for weight in text.module.parameters()} - moving == {id(table)}
    for part in (unet, vae):
        assert len(part.weights()) == len([*part.module.parameters(), *part.module.buffers()])


class TestBlockByBlock:
    @pytest.fixture
    def model(self, tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> Model:
        monkeypatch.setattr("webui.models.offloading.BLOCK_BYTES", 2**20)
        return offloaded(copied(tiny_model, CPU), CPU, "sequential")

    def test_all_weights_but_the_vocabulary_belong_to_just_one_block(self, model: Model):
        parts = model.offloading._parts
        found = [id(weight) for part in parts for weight in part.weights()]
        networks = [model.text_encoders[0].model, model.unet, model.vae]
        wanted = {id(weight) for network in networks for weight in network.parameters()}
        vocabulary = model.text_encoders[0].vocabulary.weight
        assert len(found) == len(set(found)) and wanted - set(found) == {id(vocabulary)}
        assert len({part.name for part in parts}) == len(parts) > 10

    def test_a_picture_is_the_same_and_one_block_at_a_time_is_there(
        self, model: Model, tiny_model: Model
    ):
        present: list[frozenset[str]] = []
        for module in (model.unet.mid_block, model.vae.decoder.conv_out):
            module.register_forward_hook(lambda *_: present.append(model.offloading.present))
        assert np.abs(drawn(model) - drawn(tiny_model)).max() <= 1
        assert present and all(len(names) == 1 for names in present)

    def test_weights_that_were_put_back_take_the_type_they_were_given_meanwhile(self, model: Model):
        drawn(model)  # the last block of the VAE is still there
        model.vae.to(torch.float64)
        model.offloading.move_to_cpu()
        assert {weight.dtype for weight in model.vae.parameters()} == {torch.float64}
