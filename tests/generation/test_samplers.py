"""Every sampler reaches the picture when the model always knows it."""

from __future__ import annotations

import pytest
import torch

from webui.errors import AppError
from webui.generation.samplers import SAMPLERS, SCHEDULE_TYPES, make_scheduler, split_sampler

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


def draw_with_oracle(
    sampler: str, schedule_type: str, config: dict, steps: int = 12, skipped: int = 0
):
    """Sample with a model that knows the picture; returns the final latents.

    With ``skipped`` steps left out it begins with a grey picture and the noise of that step.
    """
    scheduler = make_scheduler(sampler, schedule_type, config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(1)
    kept = alphas(config)
    noise = torch.randn(TARGET.shape, generator=generator)
    begin = skipped * scheduler.order
    timesteps = scheduler.timesteps[begin:]
    if skipped:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        latents = scheduler.add_noise(torch.zeros_like(TARGET), noise, timesteps[:1])
    else:
        latents = noise * scheduler.init_noise_sigma
    for timestep in timesteps:
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


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_can_begin_in_the_middle(sampler: str):
    latents = draw_with_oracle(sampler, "Automatic", SD1, skipped=5)
    assert (latents - TARGET).abs().mean() < 0.15


@pytest.mark.parametrize(
    ("name", "understood"),
    [
        ("DPM++ 2M Karras", ("DPM++ 2M", "Karras")),
        ("DPM++ 2M SDE Exponential", ("DPM++ 2M SDE", "Exponential")),
        ("dpm++ 2m sde heun karras", ("DPM++ 2M SDE Heun", "Karras")),
        ("Euler a", ("Euler a", "Automatic")),
        ("euler  A", ("Euler a", "Automatic")),
        ("Euler SGM Uniform", ("Euler", "SGM Uniform")),
        ("Karras", ("Karras", "Automatic")),
        ("", ("", "Automatic")),
    ],
)
def test_old_names_hold_the_schedule_type_at_their_end(name: str, understood: tuple[str, str]):
    assert split_sampler(name) == understood


@pytest.mark.parametrize("schedule_type", SCHEDULE_TYPES)
def test_each_schedule_type_works_with_the_default_sampler(schedule_type: str):
    latents = draw_with_oracle("DPM++ 2M", schedule_type, SD1)
    assert (latents - TARGET).abs().mean() < 0.12


def test_a_schedule_type_that_a_sampler_lacks_is_refused_by_name():
    with pytest.raises(AppError, match="DDIM has no schedule type Karras"):
        make_scheduler("DDIM", "Karras", SD1)
