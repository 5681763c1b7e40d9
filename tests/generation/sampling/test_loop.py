"""The sampling loop: what it waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.training.conftest import tiny_model
from tests.waiting import META, Waits, on_meta
from webui.generation.request import GenerationRequest
from webui.generation.sampling.loop import Pass, Signals, sample
from webui.generation.sampling.noise import Seeds
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES
from webui.models.model import Model
from webui.prompting.conditioning import PromptConditioning, StepConditioning


class HalfOf(torch.nn.Module):
    """Predicts half of its latents as noise, in place of a UNet."""

    def forward(self, latents: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor]:
        return (latents * 0.5,)


@pytest.fixture(scope="module")
def model() -> Model:
    return on_meta(tiny_model())


def waits_in_steps(model: Model, sampler: str) -> list[str]:
    """What four steps, after the first, would wait for."""
    words = torch.zeros(1, 77, 32, device=META)
    conditioning = PromptConditioning((), (), (), (StepConditioning(words, ((words, 1.0),)),))
    request = GenerationRequest(prompt="", sampler=sampler, steps=5, width=32, height=32, churn=1.0)
    steps = sample(model, request, conditioning, [Seeds(1), Seeds(2)], Pass(32, 32, 5), Signals())
    done, latents = next(steps)  # the first noise has been copied
    with Waits() as waits:
        while done < 5:
            done, latents = next(steps)
    assert latents.device == META
    return waits.found


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "DPM adaptive"])
def test_no_sampler_waits_between_its_steps(model: Model, sampler: str):
    """DPM adaptive decides by each step's error how long the next one is, so it has to read it."""
    assert not waits_in_steps(replace(model, unet=HalfOf()), sampler)


def test_the_unet_does_not_wait_in_a_step(model: Model):
    assert not waits_in_steps(model, "Euler")


def drawn_of(model: Model, sampler: str, schedule_type: str, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    words, negative = torch.randn(2, 1, 77, 32, generator=draw)
    timeline = (StepConditioning(negative, ((words, 1.0),)),)
    request = GenerationRequest(
        prompt="", sampler=sampler, schedule_type=schedule_type, steps=3, width=32, height=32
    )
    seeds, plan = [Seeds(seed), Seeds(seed + 1)], Pass(32, 32, 3)
    conditioning = PromptConditioning((), (), (), timeline)
    *_, (_, latents) = sample(model, request, conditioning, seeds, plan, Signals())
    return latents


@pytest.mark.slow
@pytest.mark.parametrize("backend, error", [("aot_eager", 0.0), ("inductor", 1e-4)])
def test_steps_of_all_samplers_schedules_and_prompts_are_one_graph(backend: str, error: float):
    """DPM adaptive draws image by image, and has as many steps as it likes."""
    model = tiny_model()
    graph = torch.compile(model.unet.forward, backend=backend, fullgraph=True, dynamic=False)
    compiled = replace(model, unet=graph)
    drawn_of(compiled, "Euler", "Automatic", 1)
    cases = [(name, "Automatic") for name in SAMPLERS if name != "DPM adaptive"]
    cases += [("Euler", name) for name in SCHEDULE_TYPES]
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seed, case in enumerate(cases):
            eager, ours = drawn_of(model, *case, seed), drawn_of(compiled, *case, seed)
            assert (ours - eager).abs().max() <= error * eager.abs().max(), case
        weight = model.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_v.weight
        before = drawn_of(compiled, "Euler", "Automatic", 1)
        with torch.no_grad():
            weight += 0.5 * torch.ones_like(weight)  # as a LoRA is put in
        after = drawn_of(compiled, "Euler", "Automatic", 1)
        assert not torch.equal(before, after)
        eager = drawn_of(model, "Euler", "Automatic", 1)
        assert (after - eager).abs().max() <= error * eager.abs().max()
