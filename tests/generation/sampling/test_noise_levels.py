"""The levels that each sampler goes over are AUTOMATIC1111's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.generation.sampling import published
from webui.generation.sampling.noise_levels import (
    LevelTable,
    Span,
    align_your_steps,
    beta_quantiles,
    even_timesteps,
)
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES, LevelSettings, lay_out

SD1 = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
TABLE = LevelTable.of(SD1)
ZERO_SNR = LevelTable.of(SD1 | {"rescale_betas_zero_snr": True})


@pytest.mark.parametrize("steps", [5, 10, 20, 31])
@pytest.mark.parametrize("schedule", SCHEDULE_TYPES)
def test_levels_are_those_of_the_published_formulas(schedule: str, steps: int):
    for sampler in SAMPLERS:
        ours = lay_out(sampler, schedule, TABLE, steps)
        theirs = published.levels_of(sampler, schedule, steps)
        assert ours.levels == pytest.approx(theirs, rel=1e-5, abs=1e-6), sampler


def test_the_levels_of_20_steps_of_euler_are_these_numbers():
    assert lay_out("Euler", "Automatic", TABLE, 20).levels == pytest.approx(
        [14.6146, 10.7468, 8.0815, 6.2049, 4.8557, 3.8654, 3.1238, 2.5572, 2.1157, 1.7648, 1.4806]
        + [1.2458, 1.0481, 0.8784, 0.7297, 0.5964, 0.4736, 0.3555, 0.2322, 0.0292, 0],
        abs=1e-4,
    )


def test_the_last_level_but_one_can_be_left_out_everywhere():
    usual = lay_out("Euler", "Karras", TABLE, 11).levels
    shorter = lay_out("Euler", "Karras", TABLE, 10, None, LevelSettings(False, True)).levels
    assert shorter == (*usual[:-2], 0.0)
    always = lay_out("DPM2", "Karras", TABLE, 10, None, LevelSettings(False, True))
    assert always == lay_out("DPM2", "Karras", TABLE, 10)


def test_a_picture_is_drawn_over_in_the_last_steps():
    whole = lay_out("Euler a", "Karras", TABLE, 28)
    part = lay_out("Euler a", "Karras", TABLE, 28, 20)
    assert part.levels == whole.levels[-21:]
    assert (part.noise, part.picture, part.end) == (part.levels[0], 1.0, 1.0)
    assert (part.low, part.high) == (whole.low, whole.high)  # of the same Brownian motion


def test_a_picture_that_ddim_draws_over_has_the_noise_of_the_timestep_before():
    timesteps = even_timesteps(28, TABLE)
    assert len(timesteps) == 29 and timesteps[:2] == [1, 36]
    course = lay_out("DDIM", "Automatic", TABLE, 28, 20)
    assert course.levels == tuple(TABLE.sigmas[timesteps[:19][::-1]].tolist())
    kept = float(TABLE.kept[timesteps[19]])
    ratio = course.noise / course.picture
    assert ratio == pytest.approx(((1 - kept) / kept) ** 0.5, rel=1e-5)


def test_noise_to_begin_with_can_be_as_strong_as_sdxls():
    settings = LevelSettings(True, False, True)
    assert lay_out("Euler", "Karras", TABLE, 20, None, settings).noise == pytest.approx(
        (14.61464**2 + 1) ** 0.5, rel=1e-5
    )


def test_zero_snr_begins_with_noise_alone():
    assert ZERO_SNR.high == pytest.approx((1 / 4.8973451890853435e-08 - 1) ** 0.5, rel=1e-6)
    assert pytest.approx(TABLE.low, rel=1e-3) == ZERO_SNR.low
    karras = lay_out("DPM++ 2M", "Karras", ZERO_SNR, 10).levels
    assert karras == pytest.approx(
        published.levels("Karras", 10, ZERO_SNR.sigmas.double().numpy()), rel=1e-5
    )
    automatic = lay_out("DPM++ 2M", "Automatic", ZERO_SNR, 10)
    assert automatic == lay_out("DPM++ 2M", "Uniform", ZERO_SNR, 10)


def test_levels_can_be_those_of_half_precision():
    half = LevelTable.of(SD1, half=True)
    kept = published.KEPT.astype(np.float16).astype(np.float64)
    assert half.high == pytest.approx(((1 - kept[-1]) / kept[-1]) ** 0.5, rel=1e-6)
    assert half.low != TABLE.low


def test_betas_of_another_course_are_taken_from_the_configuration():
    given = LevelTable.of({"trained_betas": [0.1, 0.2, 0.5]})
    assert given.kept.tolist() == pytest.approx([0.9, 0.72, 0.36])
    linear = LevelTable.of({"beta_schedule": "linear", "num_train_timesteps": 10})
    assert linear.kept[0] == pytest.approx(1 - 0.0001) and len(linear.kept) == 10


def test_a_level_and_its_timestep_belong_together():
    for timestep in (0.0, 0.5, 17.0, 498.25, 999.0):
        sigma = float(TABLE.at(torch.tensor([timestep])))
        assert TABLE.timestep_of(sigma) == pytest.approx(timestep, abs=1e-2)


def test_beta_quantiles_are_those_of_the_distribution():
    parts = torch.linspace(0, 1, 11, dtype=torch.float64)
    arcsine = torch.sin(torch.pi * parts / 2) ** 2
    assert beta_quantiles(parts.numpy(), 0.5) == pytest.approx(arcsine.numpy(), abs=1e-8)
    assert beta_quantiles(parts.numpy(), 1.0) == pytest.approx(parts.numpy(), abs=1e-8)


def test_align_your_steps_takes_the_levels_of_the_models_family():
    sd1, sdxl = (align_your_steps(11, Span(TABLE, sdxl)).tolist() for sdxl in (False, True))
    assert sd1 == pytest.approx([*published.STABLE_DIFFUSION, 0.0])
    assert sdxl == pytest.approx([*published.SDXL, 0.0])
