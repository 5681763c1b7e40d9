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
from webui.generation.sampling.samplers import SAMPLERS
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
