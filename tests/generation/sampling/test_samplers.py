"""Every sampler reaches the picture when the model always knows it."""

from __future__ import annotations

import inspect

import pytest
import torch
from diffusers import KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler

from webui.errors import AppError
from webui.generation.sampling.dpm2 import Dpm2
from webui.generation.sampling.loop import calls
from webui.generation.sampling.samplers import (
    SAMPLERS,
    SCHEDULE_TYPES,
    eta_warnings,
    make_scheduler,
    split_sampler,
)

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

HAVE_ETA = [name for name, sampler in SAMPLERS.items() if sampler.eta is not None]
OWN = [name for name, sampler in SAMPLERS.items() if "solver" in sampler.module]


def alphas(config: dict) -> torch.Tensor:
    """Cumulative alphas of a configuration, by its definition."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    cumulative = torch.cumprod(1 - betas, 0)
    if config.get("rescale_betas_zero_snr"):
        root = cumulative.sqrt()
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        cumulative = root**2
    return cumulative


def at(table: torch.Tensor, position: float) -> torch.Tensor:
    """A value between those of two timesteps."""
    low = int(position)
    return torch.lerp(table[low], table[min(low + 1, 999)], position - low)


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
    if skipped:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        first = scheduler.timesteps[begin : begin + 1]
        latents = scheduler.add_noise(torch.zeros_like(TARGET), noise, first)
    else:
        latents = noise * scheduler.init_noise_sigma
    for _, timestep in calls(scheduler, begin, steps - skipped):
        noisy = scheduler.scale_model_input(latents, timestep).double()
        # noisy = a·x0 + s·noise, so whoever knows x0 knows the noise; timesteps may be fractions
        mixed = at(kept, float(timestep))
        a, s = mixed.sqrt(), (1 - mixed).sqrt()
        noise = (noisy - a * TARGET) / s
        v = a * noise - s * TARGET
        output = (noise if config["prediction_type"] == "epsilon" else v).float()
        extra = {"unguided": output} if hasattr(scheduler, "needs_unguided") else {}
        latents = scheduler.step(output, timestep, latents, return_dict=False, **extra)[0]
    return latents


def error_on_gaussian_pictures(sampler: str, steps: int) -> tuple[float, int]:
    """Sample from normally distributed pictures, whose exact course is known.

    Their mean is 0.5 and their deviation 0.3. Returns how far the latents are from where the
    probability flow leads, and the number of calls.
    """
    scheduler = make_scheduler(sampler, "Normal", SD1)
    scheduler.set_timesteps(steps)
    log_sigmas = ((1 - alphas(SD1)) / alphas(SD1)).log() / 2
    noise = torch.randn(TARGET.shape, generator=torch.Generator().manual_seed(1))
    latents = first = noise * scheduler.init_noise_sigma
    count = 0
    for _, timestep in calls(scheduler, 0, steps):
        sigma = at(log_sigmas, float(timestep)).exp()
        noisy = scheduler.scale_model_input(latents, timestep).double() * (sigma**2 + 1).sqrt()
        denoised = (0.3**2 * noisy + sigma**2 * 0.5) / (0.3**2 + sigma**2)
        eps = ((noisy - denoised) / sigma).float()
        latents = scheduler.step(eps, timestep, latents, return_dict=False)[0]
        count += 1
    highest = float(scheduler.sigmas[0])
    exact = 0.5 + (first - 0.5) * 0.3 / (0.3**2 + highest**2) ** 0.5
    return float((latents - exact).abs().mean()), count


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
        ("DPM++ 2S a Karras", ("DPM++ 2S a", "Karras")),
        ("LMS Karras", ("LMS", "Karras")),
        ("DPM adaptive", ("DPM adaptive", "Automatic")),
        ("DDIM CFG++", ("DDIM CFG++", "Automatic")),
        ("k_dpm_ad", ("DPM adaptive", "Automatic")),
        ("k_lms Karras", ("LMS", "Karras")),
        ("Karras", ("Karras", "Automatic")),
        ("", ("", "Automatic")),
    ],
)
def test_old_names_hold_the_schedule_type_at_their_end(name: str, understood: tuple[str, str]):
    assert split_sampler(name) == understood


@pytest.mark.parametrize("config", [SD1, ZERO_SNR], ids=["sd1", "zero-snr"])
@pytest.mark.parametrize("schedule_type", SCHEDULE_TYPES)
def test_each_sampler_draws_with_a_schedule_type_or_refuses_it_by_name(
    schedule_type: str, config: dict
):
    refusing = set()
    for sampler in SAMPLERS:
        try:
            latents = draw_with_oracle(sampler, schedule_type, config)
        except AppError as error:
            assert str(error).startswith(f"The sampler {sampler} has no schedule type")
            refusing.add(sampler)
        else:
            assert (latents - TARGET).abs().mean() < 0.16, sampler
    even = ("Automatic", "Uniform", "SGM Uniform", "Simple", "Normal", "DDIM")
    assert refusing == (set() if schedule_type in even else {"DDIM", "PLMS", "LCM"})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_drawing_has_a_scheduler_of_its_own(sampler: str):
    few, many = (make_scheduler(sampler, "Automatic", SD1) for _ in range(2))
    few.set_timesteps(4)
    before = few.timesteps.clone()
    many.set_timesteps(30)
    assert torch.equal(few.timesteps, before) and len(many.timesteps) > len(before)


@pytest.mark.parametrize("options", [{}, {"use_karras_sigmas": True}], ids=["even", "karras"])
def test_the_quick_look_up_of_dpm2_finds_the_same_timesteps(options: dict):
    quick, slow = Dpm2(**options), KDPM2DiscreteScheduler(**options)
    for each in (quick, slow):
        each.set_timesteps(13)
    assert quick.timesteps.dtype == slow.timesteps.dtype
    assert torch.allclose(quick.timesteps, slow.timesteps, rtol=0, atol=1e-3)


def test_a_schedule_type_that_a_sampler_lacks_is_refused_by_name():
    with pytest.raises(AppError, match="DDIM has no schedule type Karras"):
        make_scheduler("DDIM", "Karras", SD1)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 25, 40])
@pytest.mark.parametrize("config", [SD1, ZERO_SNR], ids=["sd1", "zero-snr"])
@pytest.mark.parametrize("sampler", OWN)
def test_few_and_many_steps_end_at_the_picture(sampler: str, config: dict, steps: int):
    latents = draw_with_oracle(sampler, "Automatic", config, steps)
    assert (latents - TARGET).abs().mean() < 0.12


@pytest.mark.parametrize(
    ("sampler", "steps", "times_nearer"),
    [("LMS", 20, 5), ("Heun", 20, 3), ("DPM fast", 20, 5), ("DPM adaptive", 20, 5)],
)
def test_a_higher_order_is_nearer_to_the_exact_course_than_euler_with_as_many_calls(
    sampler: str, steps: int, times_nearer: float
):
    error, count = error_on_gaussian_pictures(sampler, steps)
    plain, same = error_on_gaussian_pictures("Euler", count)
    assert count == same
    assert error * times_nearer < plain


def gaussian_pictures(
    sampler: str, schedule_type: str, steps: int, eta: float | None = None, seed: int = 2
) -> torch.Tensor:
    """What a sampler makes of normally distributed pictures of deviation 0.3."""
    scheduler = make_scheduler(sampler, schedule_type, SD1, eta=eta)
    scheduler.set_timesteps(steps)
    log_sigmas = ((1 - alphas(SD1)) / alphas(SD1)).log() / 2
    first, added = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed)
    latents = torch.randn(1, 4, 64, 64, generator=first) * scheduler.init_noise_sigma
    for _, timestep in calls(scheduler, 0, steps):
        sigma = at(log_sigmas, float(timestep)).exp()
        scaled = scheduler.scale_model_input(latents, timestep)
        eps = (scaled * sigma * (sigma**2 + 1).sqrt() / (0.3**2 + sigma**2)).float()
        takes = inspect.signature(scheduler.step).parameters
        extra = {"unguided": eps} if hasattr(scheduler, "needs_unguided") else {}
        extra |= {"eta": scheduler.eta} if "eta" in takes else {}
        extra |= {"generator": added} if "generator" in takes else {}
        latents = scheduler.step(eps, timestep, latents, return_dict=False, **extra)[0]
    return latents


def variance(sampler: str, schedule_type: str, steps: int, eta: float | None = None) -> float:
    """The variance of those pictures."""
    return float(gaussian_pictures(sampler, schedule_type, steps, eta).var())


@pytest.mark.parametrize("sampler", ["Euler a", "DPM2 a", "DPM++ 2S a", "DPM++ SDE", "Restart"])
def test_added_noise_leaves_pictures_as_varied_as_the_model_knows_them(sampler: str):
    assert variance(sampler, "Karras", 200) == pytest.approx(0.3**2, rel=0.1)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sampler", HAVE_ETA)
def test_any_eta_leaves_pictures_as_varied_as_the_model_knows_them(sampler: str, eta: float):
    assert variance(sampler, "Automatic", 200, eta) == pytest.approx(0.3**2, rel=0.15)


@pytest.mark.parametrize("sampler", HAVE_ETA)
def test_eta_decides_how_much_noise_is_added(sampler: str):
    def difference(eta: float | None) -> float:
        one, other = (gaussian_pictures(sampler, "Automatic", 20, eta, seed) for seed in (2, 3))
        return float((one - other).abs().mean())

    assert difference(0.0) == 0
    assert 0 < difference(0.3) < difference(1.0)
    assert difference(None) == difference(SAMPLERS[sampler].eta)


@pytest.mark.parametrize(
    ("sampler", "plain"),
    [("Euler a", "Euler"), ("DPM2 a", "DPM2"), ("DPM++ 2M SDE", "DPM++ 2M")],
)
def test_without_noise_a_sampler_is_the_plain_one(sampler: str, plain: str):
    quiet = gaussian_pictures(sampler, "Karras", 20, 0.0)
    assert torch.allclose(quiet, gaussian_pictures(plain, "Karras", 20), rtol=0, atol=2e-3)


def test_an_eta_without_effect_is_said():
    assert eta_warnings("Euler", 1.0) == ("Eta has no effect with the sampler Euler.",)
    assert eta_warnings("Euler", None) == eta_warnings("DDIM", 1.0) == ()


def test_dpm2_a_is_the_same_as_in_diffusers():
    ends = []
    for scheduler in (
        make_scheduler("DPM2 a", "Normal", SD1),
        KDPM2AncestralDiscreteScheduler(**SD1, timestep_spacing="linspace"),
    ):
        scheduler.set_timesteps(12)
        generator = torch.Generator().manual_seed(1)
        latents = torch.randn(TARGET.shape, generator=generator) * scheduler.init_noise_sigma
        for _, timestep in calls(scheduler, 0, 12):
            output = scheduler.scale_model_input(latents, timestep).tanh()
            latents = scheduler.step(
                output, timestep, latents, generator=generator, return_dict=False
            )[0]
        ends.append(latents)
    assert torch.allclose(*ends, rtol=0, atol=1e-3)


def test_the_third_order_is_exact_in_few_steps():
    assert variance("DPM++ 3M SDE", "Karras", 40) == pytest.approx(0.3**2, rel=0.04)


def test_restart_goes_back_into_noise_from_20_steps_on():
    def timesteps(steps: int) -> list[float]:
        scheduler = make_scheduler("Restart", "Karras", SD1)
        scheduler.set_timesteps(steps)
        asked, latents = [], TARGET * 14
        for _, timestep in calls(scheduler, 0, steps):
            asked.append(float(timestep))
            latents = scheduler.step(latents / 14, timestep, latents, return_dict=False)[0]
        return asked

    def rises(asked: list[float]) -> int:
        return sum(later > earlier for earlier, later in zip(asked, asked[1:], strict=False))

    assert [rises(timesteps(steps)) for steps in (19, 20, 36)] == [0, 1, 2]
    assert len(timesteps(20)) == 39


def test_steps_are_counted_up_to_the_last_whatever_the_calls():
    for sampler in OWN:
        scheduler = make_scheduler(sampler, "Automatic", SD1)
        scheduler.set_timesteps(24)
        steps, latents = [], TARGET * 14
        for step, timestep in calls(scheduler, 0, 24):
            steps.append(step)
            output = latents / 14
            extra = {"unguided": output} if scheduler.needs_unguided else {}
            latents = scheduler.step(output, timestep, latents, return_dict=False, **extra)[0]
        assert steps == sorted(steps) and steps[0] == 0, sampler
        assert steps[-1] == 23 or sampler == "DPM adaptive" and 20 < steps[-1] < 24
