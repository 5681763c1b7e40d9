"""Every sampler reaches the picture when the model always knows it."""

from __future__ import annotations

import pytest
import torch

from webui.errors import AppError
from webui.generation.samplers import SAMPLERS, SCHEDULE_TYPES, make_scheduler

TARGET = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8).repeat(1, 4, 1, 1)
SD1 = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "steps_offset": 1,
}
ZERO_SNR = SD1 | {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def alphas(config: dict) -> torch.Tensor:
    """Cumulative alphas of a configuration, by its definition."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    cumulative = torch.cumprod(1 - betas, 0)
    if config.get("rescale_betas_zero_snr"):
        root = cumulative.sqrt()
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        cumulative = root**2
    return cumulative


def draw_with_oracle(sampler: str, schedule_type: str, config: dict, steps: int = 12):
    """Sample with a model that knows the picture; returns the final latents."""
    scheduler = make_scheduler(sampler, schedule_type, config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(1)
    kept = alphas(config)
    latents = torch.randn(TARGET.shape, generator=generator) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        noisy = scheduler.scale_model_input(latents, timestep).double()
        # noisy = a·x0 + s·noise, so whoever knows x0 knows the noise; timesteps may be fractions
        position = float(timestep)
        low = int(position)
        high = min(low + 1, 999)
        mixed = kept[low] + (kept[high] - kept[low]) * (position - low)
        a, s = mixed.sqrt(), (1 - mixed).sqrt()
        noise = (noisy - a * TARGET) / s
        v = a * noise - s * TARGET
        output = noise if config["prediction_type"] == "epsilon" else v
        latents = scheduler.step(output.float(), timestep, latents, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("config", [SD1, ZERO_SNR], ids=["sd1", "zero-snr"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_ends_at_the_picture_the_model_predicts(sampler: str, config: dict):
    latents = draw_with_oracle(sampler, "Automatic", config)
    assert torch.isfinite(latents).all()
    assert (latents - TARGET).abs().mean() < 0.12


@pytest.mark.parametrize("schedule_type", SCHEDULE_TYPES)
def test_each_schedule_type_works_with_the_default_sampler(schedule_type: str):
    latents = draw_with_oracle("DPM++ 2M", schedule_type, SD1)
    assert (latents - TARGET).abs().mean() < 0.12


def test_a_schedule_type_that_a_sampler_lacks_is_refused_by_name():
    with pytest.raises(AppError, match="DDIM has no schedule type Karras"):
        make_scheduler("DDIM", "Karras", SD1)
