"""Samplers walk as the published formulas say, and end at the picture that the model knows."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from tests.generation.sampling import published
from webui.generation.sampling.brownian import BrownianNoise, BrownianTree
from webui.generation.sampling.dpm_solver import orders_of
from webui.generation.sampling.noise_levels import LevelTable
from webui.generation.sampling.samplers import (
    SAMPLERS,
    SCHEDULE_TYPES,
    Course,
    lay_out,
    sampler_warnings,
    split_sampler,
)
from webui.generation.sampling.solvers import Call, Churn, Given
from webui.generation.sampling.timesteps import _sigma_of

TARGET = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8).repeat(1, 4, 1, 1)
SD1 = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
TABLE = LevelTable.of(SD1)
ZERO_SNR = LevelTable.of(SD1 | {"rescale_betas_zero_snr": True})
TABLES = pytest.mark.parametrize("table", [TABLE, ZERO_SNR], ids=["sd1", "zero-snr"])
HAVE_ETA = [name for name, sampler in SAMPLERS.items() if sampler.eta is not None]

Denoise = Callable[[Tensor, float], Tensor]


def draws(seed: int, shape: tuple[int, ...]) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


def brownian_noise(course: Course, seed: int, shape: tuple[int, ...]) -> BrownianNoise:
    return BrownianNoise(
        [BrownianTree(course.low, course.high, seed, lambda at: draws(at, shape[1:])())]
    )


def walk(
    sampler: str,
    course: Course,
    denoise: Denoise,
    x: Tensor,
    table: LevelTable = TABLE,
    eta: float | None = None,
    seed: int = 2,
    **options: object,
) -> tuple[Tensor, list[Call]]:
    """Go the whole way; returns the last latents and the calls."""
    chosen = SAMPLERS[sampler]
    if eta is None:
        eta = 1.0 if chosen.eta is None else chosen.eta
    last: list[Tensor] = []
    given = Given(
        table.every(chosen.stride),
        draws(seed, tuple(x.shape)),
        brownian_noise(course, seed, tuple(x.shape)),
        unguided=lambda: last[0],
        eta=eta,
        **options,
    )
    path = chosen.path(x, course.levels, given)
    calls = [next(path)]
    while True:
        last[:] = [denoise(calls[-1].latents, calls[-1].sigma)]
        try:
            calls.append(path.send(last[0]))
        except StopIteration as end:
            return end.value, calls


def known(x: Tensor, sigma: float) -> Tensor:
    """A model that knows the picture."""
    return TARGET.to(x)


def bent(x: Tensor, sigma: float) -> Tensor:
    """A model of some curvature."""
    return (0.09 * x + 0.5 * sigma**2) / (0.09 + sigma**2) + 0.1 * torch.sin(3 * x) / (1 + sigma)


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """What is known of pictures that are normally distributed with a deviation of 0.3."""
    return 0.09 * x / (0.09 + sigma**2)


def draw(sampler: str, schedule: str, table: LevelTable, steps: int = 12) -> Tensor:
    course = lay_out(sampler, schedule, table, steps)
    x = course.noise * draws(1, TARGET.shape)()
    return walk(sampler, course, known, x, table)[0] * course.end


@pytest.mark.parametrize(
    ("sampler", "eta"),
    [
        (name, eta)
        for name in SAMPLERS
        for eta in ((None, 0.5, 0.0) if name in HAVE_ETA else (None,))
        if name not in ("UniPC", "LCM")
    ],
)
def test_walks_are_those_of_the_published_formulas(sampler: str, eta: float | None):
    for schedule, steps, taken in (
        ("Karras", 5, None),
        ("Automatic", 20, None),
        ("KL Optimal", 10, None),
        ("DDIM", 31, 7),
    ):
        course = lay_out(sampler, schedule, TABLE, steps, taken)
        x = course.noise * draws(3, TARGET.shape)()
        ours, _ = walk(sampler, course, bent, x, eta=eta)
        theirs = published.walk(
            "DDIM" if sampler == "DDIM CFG++" else sampler,  # without guidance it is the same
            bent,
            x,
            list(course.levels),
            draws(2, tuple(x.shape)),
            brownian_noise(course, 2, tuple(x.shape)),
            eta=(SAMPLERS[sampler].eta or 0.0) if eta is None else eta,
        )
        # the adaptive one's tolerances make more of single precision
        apart = 1e-4 if sampler != "DPM adaptive" else 5e-4
        assert (ours - theirs).abs().max() < apart, (schedule, steps)


@pytest.mark.parametrize("steps", [5, 10, 20, 31])
def test_unipc_walks_as_in_diffusers(steps: int):
    course = lay_out("UniPC", "Automatic", TABLE, steps)
    noise = draws(3, TARGET.shape)()
    ours, calls = walk("UniPC", course, bent, course.noise * noise)
    assert [call.timestep for call in calls] == pytest.approx(course.levels[:-1])
    assert calls[0].sigma == pytest.approx(TABLE.high, rel=1e-5)
    given = Given(TABLE, draws(0, (1,)), lambda a, b: noise, lambda: noise)
    sigmas = [_sigma_of(given, timestep) for timestep in course.levels]
    theirs = UniPCMultistepScheduler(
        **SD1, solver_order=3, solver_type="bh1", final_sigmas_type="sigma_min"
    )
    theirs.set_timesteps(len(sigmas) - 1)
    theirs.sigmas, theirs.timesteps = torch.tensor(sigmas), torch.arange(len(sigmas) - 1, 0, -1)
    x = noise
    for sigma, timestep in zip(sigmas, theirs.timesteps, strict=False):
        raised = x * math.hypot(sigma, 1)
        output = (raised - bent(raised, sigma)) / sigma
        x = theirs.step(output, timestep, x, return_dict=False)[0]
    assert (ours * course.end - x).abs().max() < 1e-4


def test_lcm_draws_new_noise_over_each_prediction():
    course = lay_out("LCM", "Automatic", TABLE, 4)
    assert course.levels == pytest.approx(
        published.levels("Uniform", 4, published.SIGMAS[19::20]), rel=1e-5
    )
    x = course.noise * draws(3, TARGET.shape)()
    ours, calls = walk("LCM", course, bent, x)
    assert [call.timestep for call in calls] == [999, 679, 339, 19]
    noise = draws(2, TARGET.shape)
    for call, lower in zip(calls, course.levels[1:], strict=True):
        x = bent(x, call.sigma) + (lower * noise() if lower else 0)
    assert (ours - x).abs().max() < 1e-3  # the boundary takes a little of the latents along


@TABLES
@pytest.mark.parametrize("schedule", SCHEDULE_TYPES)
def test_each_sampler_draws_with_each_schedule_type(schedule: str, table: LevelTable):
    for sampler in SAMPLERS:
        left = 0.12 if (sampler, schedule) == ("LCM", "KL Optimal") else 0.06  # the lowest level
        assert (draw(sampler, schedule, table) - TARGET).abs().mean() < left, sampler


@TABLES
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_few_and_many_steps_end_at_the_picture(sampler: str, table: LevelTable):
    for steps in (1, 2, 3, 4, 5, 25, 40):
        assert (draw(sampler, "Automatic", table, steps) - TARGET).abs().mean() < 0.06, steps


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_can_draw_over_a_picture(sampler: str):
    for taken in (1, 2, 3, 7):
        course = lay_out(sampler, "Automatic", TABLE, 12, taken)
        x = course.noise * draws(1, TARGET.shape)()  # over grey
        drawn = walk(sampler, course, known, x)[0] * course.end
        assert (drawn - TARGET).abs().mean() < 0.15, taken


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sampler", [*HAVE_ETA, "Restart"])
def test_any_eta_leaves_pictures_as_varied_as_the_model_knows_them(sampler: str, eta: float):
    course = lay_out(sampler, "Karras", TABLE, 200)
    x = course.noise * draws(1, (1, 4, 64, 64))()
    drawn = walk(sampler, course, gaussian, x, eta=eta)[0] * course.end
    # with much noise the adaptive one's error is of the first order, and its steps are long
    apart = 0.5 if (sampler, eta) == ("DPM adaptive", 1.0) else 0.15
    assert float(drawn.var()) == pytest.approx(0.3**2, rel=apart)


@pytest.mark.parametrize("sampler", HAVE_ETA)
def test_eta_decides_how_much_noise_is_added(sampler: str):
    course = lay_out(sampler, "Uniform", TABLE, 20)
    x = course.noise * draws(1, TARGET.shape)()

    def difference(eta: float | None) -> float:
        one, other = (walk(sampler, course, gaussian, x, eta=eta, seed=seed)[0] for seed in (2, 3))
        return float((one - other).abs().mean())

    assert difference(0.0) == 0
    assert 0 < difference(0.3) < difference(1.0)
    assert difference(None) == difference(SAMPLERS[sampler].eta)


@pytest.mark.parametrize(
    ("sampler", "plain"),
    [
        ("Euler a", "Euler"),
        ("DPM2 a", "DPM2"),
        ("DPM++ 2M SDE", "DPM++ 2M"),
        ("DDIM CFG++", "DDIM"),
    ],
)
def test_without_noise_and_guidance_a_sampler_is_the_plain_one(sampler: str, plain: str):
    course = lay_out(plain, "Karras", TABLE, 20)
    x = course.noise * draws(1, TARGET.shape)()
    quiet, simple = (walk(name, course, bent, x, eta=0.0)[0] for name in (sampler, plain))
    assert torch.allclose(quiet, simple, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DPM2"])
def test_churn_raises_the_levels_between_its_limits(sampler: str):
    course = lay_out(sampler, "Karras", TABLE, 20)
    x = course.noise * draws(1, TARGET.shape)()
    churn = Churn(4.0, low=0.5, high=5.0)
    _, calls = walk(sampler, course, bent, x, churn=churn)
    firsts = {call.step: call.sigma for call in reversed(calls)}
    for step, level in enumerate(course.levels[:-1]):
        raised = level * 1.2 if 0.5 <= level <= 5 else level
        assert firsts[step] == pytest.approx(raised, rel=1e-6)


@pytest.mark.parametrize("sampler", ["DPM++ SDE", "DPM++ 2S a", "DPM2 a", "DPM fast"])
def test_added_noise_can_be_made_weaker(sampler: str):
    course = lay_out(sampler, "Karras", TABLE, 10)
    x = course.noise * draws(1, TARGET.shape)()
    ends = [walk(sampler, course, known, x, noise_strength=part)[1][-1] for part in (1.0, 0.5)]
    assert (ends[1].latents - TARGET).abs().mean() < (ends[0].latents - TARGET).abs().mean()


@pytest.mark.parametrize("steps", [19, 20, 36])
def test_restart_goes_back_into_noise_from_20_steps_on(steps: int):
    course = lay_out("Restart", "Karras", TABLE, steps)
    _, calls = walk("Restart", course, known, course.noise * draws(1, TARGET.shape)())
    firsts = list({call.step: call.sigma for call in reversed(calls)}.values())[::-1]
    rises = sum(later > earlier for earlier, later in zip(firsts, firsts[1:], strict=False))
    assert rises == {19: 0, 20: 1, 36: 2}[steps]
    assert len(firsts) == steps and len(calls) == 2 * steps - 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_steps_are_counted_up_to_the_last_whatever_the_calls(sampler: str):
    course = lay_out(sampler, "Automatic", TABLE, 24)
    _, calls = walk(sampler, course, bent, course.noise * draws(1, TARGET.shape)())
    steps = [call.step for call in calls]
    assert steps == sorted(steps) and steps[0] == 0
    assert 20 < steps[-1] < 26
    if SAMPLERS[sampler].calls == 2:
        assert 40 < len(calls) <= 48


def test_three_calls_make_a_step_of_dpm_fast():
    assert [orders_of(n) for n in (1, 3, 5, 6)] == [[1], [2, 1], [3, 2], [3, 2, 1]]


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


def test_what_has_no_effect_is_said():
    assert sampler_warnings("Euler", "Karras", 1.0) == (
        "Eta has no effect with the sampler Euler.",
    )
    assert sampler_warnings("DDIM", "Karras", 1.0) == (
        "The schedule type has no effect with the sampler DDIM, which has its own steps.",
    )
    assert sampler_warnings("Euler", "Karras", None) == ()
    assert sampler_warnings("DDIM", "Automatic", 1.0) == ()
