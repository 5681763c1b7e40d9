"""How samplers walk from noise to a picture, one level after the other.

All of them work on latents ``x = picture + sigma · noise``, as Karras et al. 2022 ("Elucidating the
Design Space of Diffusion-Based Generative Models", arXiv 2206.00364) write them. The model's
prediction of the picture is called denoised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from webui.generation.sampling.noise import PURE_NOISE
from webui.generation.sampling.noise_levels import LevelTable, karras_between


class Call(NamedTuple):
    """Latents of which the model is to predict the picture."""

    latents: Tensor
    """``[batch, 4, h, w]``."""
    sigma: float
    step: int
    """How many steps are done by then."""
    timestep: float | None = None
    """What the model is told; None for the one of ``sigma``."""


Path = Generator[Call, Tensor, Tensor]
"""Asks for denoised latents, call by call, and returns the last latents."""


@dataclass(frozen=True)
class Churn:
    """Noise that is added before a step (Karras et al. 2022, algorithm 2)."""

    amount: float = 0.0
    """Divided by the steps it is by how much a level is raised; 0 is off."""
    low: float = 0.0
    high: float = math.inf
    """The levels between which it acts."""


@dataclass(frozen=True)
class Given:
    """What a walk may use besides latents and levels."""

    table: LevelTable
    """The levels that the sampler knows of the model."""
    noise: Callable[[], Tensor]
    """Draws noise for the batch, each picture's from its own generator."""
    brownian: Callable[[float, float], Tensor]
    """Returns the noise of a Brownian motion between two levels, of variance 1."""
    unguided: Callable[[], Tensor]
    """Returns what the last call predicted without guidance."""
    eta: float = 1.0
    """What the noise that is added in each step is multiplied by, where there is some."""
    noise_strength: float = 1.0
    """Multiplies it once more, without a change of the level to go down to."""
    churn: Churn = Churn()  # noqa: RUF009 - frozen


def euler(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """Steps along the slope at their beginning."""
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        x, sigma = churned(x, sigma, len(levels) - 1, given)
        denoised = yield Call(x, sigma, step)
        x = torch.lerp(denoised, x, lower / sigma)
    return x


def euler_ancestral(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """Euler steps that go further down than the next level, and back up with new noise."""
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        denoised = yield Call(x, sigma, step)
        down, up = ancestral(sigma, lower, given.eta)
        x = denoised + (x - denoised) * (down / sigma)
        if lower:
            x = x + up * given.noise()
    return x


def heun(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """Steps along the mean of the slopes at their ends (Karras et al. 2022, algorithm 2)."""
    steps = len(levels) - 1
    x, levels, done = yield from leave_pure_noise(x, levels)
    for step, (sigma, lower) in enumerate(pairwise(levels), start=done):
        x, sigma = churned(x, sigma, steps, given)
        x = yield from _heun(x, sigma, lower, step)
    return x


def dpm2(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """DPM-Solver-2 (Lu et al. 2022, arXiv 2206.00927): along the slope in the middle of a step."""
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        x, sigma = churned(x, sigma, len(levels) - 1, given)
        x = yield from _midpoint(x, sigma, lower, step)
    return x


def dpm2_ancestral(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """DPM-Solver-2 to below the next level, and back up."""
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        down, up = ancestral(sigma, lower, given.eta)
        x = yield from _midpoint(x, sigma, down, step)
        if down:
            x = x + up * given.noise_strength * given.noise()
    return x


def dpmpp_2s_ancestral(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """DPM-Solver++(2S), ancestral (Lu et al. 2022, arXiv 2211.01095, algorithm 1, r = 1/2)."""
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        denoised = yield Call(x, sigma, step)
        down, up = ancestral(sigma, lower, given.eta)
        if down:
            middle = math.sqrt(sigma * down)
            halfway = torch.lerp(denoised, x, middle / sigma)
            denoised = yield Call(halfway, middle, step)
        x = torch.lerp(denoised, x, down / sigma)
        if lower:
            x = x + up * given.noise_strength * given.noise()
    return x


def dpmpp_sde(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """DPM-Solver++(2S) for the stochastic equation (Lu et al. 2022, arXiv 2211.01095)."""
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        denoised = yield Call(x, sigma, step)
        if lower == 0:
            return denoised
        upper, middle, lower = _by_logarithm(sigma, lower)
        down, up = ancestral(upper, middle, given.eta)
        noise = given.brownian(upper, middle) * given.noise_strength
        halfway = torch.lerp(denoised, x, down / upper) + up * noise
        denoised = yield Call(halfway, middle, step)
        down, up = ancestral(upper, lower, given.eta)
        noise = given.brownian(upper, lower) * given.noise_strength
        x = torch.lerp(denoised, x, down / upper) + up * noise
    return x


def restart(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """Heun's steps, with a part of the way gone again from noise that is added anew.

    Xu et al. 2023, "Restart Sampling for Improving Generative Processes", arXiv 2306.14878.
    """
    x, levels, step = yield from leave_pure_noise(x, levels)
    before: float | None = None
    for sigma, lower in with_restarts(levels):
        if before is not None and sigma > before:
            x = x + given.noise() * math.sqrt(sigma**2 - before**2)
        x = yield from _heun(x, sigma, lower, step)
        before, step = lower, step + 1
    return x


RESTARTED = 0.1, 2.0
"""The part of the way that is gone again, as the paper sets it for Stable Diffusion."""


def with_restarts(levels: Sequence[float]) -> list[tuple[float, float]]:
    """Return the levels at both ends of each step.

    From 20 steps on some of them go a part of the way again, 9 once, or from 36 on a quarter
    twice; these shares, and Karras' levels for all of it, are AUTOMATIC1111's.
    """
    steps = len(levels) - 1
    if steps < 20:
        return list(pairwise(levels))
    length, times = (9, 1) if steps < 36 else (steps // 4, 2)
    levels = karras_between(steps - length * times, levels[0], levels[-2]).tolist()
    ends = torch.tensor(levels) - torch.tensor(RESTARTED)[:, None]
    bottom, top = ends.abs().argmin(dim=1).tolist()
    found = list(pairwise(levels))
    if top >= bottom:
        return found
    again = karras_between(length + 1, levels[top], levels[bottom]).tolist()[:-1]
    return found[:bottom] + list(pairwise(again)) * times + found[bottom:]


def lcm(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """Each prediction with new noise (Luo et al. 2023, "Latent Consistency Models")."""
    logs = given.table.sigmas.log()
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        timestep = given.table.timestep_at(int((logs - math.log(sigma)).abs().argmin()))
        predicted = yield Call(x, sigma, step, timestep)
        share = math.hypot(10 * timestep, 0.5)
        x = predicted * (10 * timestep / share) + x * (0.5 / share) ** 2
        if lower:
            x = x + lower * given.noise()
    return x


def ancestral(sigma: float, lower: float, eta: float) -> tuple[float, float]:
    """Return the level to go down to, and the noise to add then to be at ``lower``.

    With an ``eta`` of 1 the noise is that of DDPM's ancestral sampling (Ho et al. 2020, arXiv
    2006.11239), with 0 there is none, as in DDIM (Song et al. 2020, arXiv 2010.02502).
    """
    share = min(eta**2 * (1 - (lower / sigma) ** 2), 1.0)
    return lower * math.sqrt(1 - share), lower * math.sqrt(share)


def churned(x: Tensor, sigma: float, steps: int, given: Given) -> tuple[Tensor, float]:
    """Return latents raised to a level above ``sigma``, and that level."""
    churn = given.churn
    if not churn.amount:
        return x, sigma
    noise = given.noise()  # in each step, whether it is added or not
    if not churn.low <= sigma <= churn.high:
        return x, sigma
    raised = sigma * (1 + min(churn.amount / steps, math.sqrt(2) - 1))
    return x + noise * given.noise_strength * math.sqrt(raised**2 - sigma**2), raised


def leave_pure_noise(
    x: Tensor, levels: Sequence[float]
) -> Generator[Call, Tensor, tuple[Tensor, Sequence[float], int]]:
    """Take the first step of a zero-SNR model; returns latents, levels left and steps done.

    Methods that compare the noise at both ends of a step cannot take it: what the picture differs
    by between a sigma of thousands and the next level would be blown up by that ratio.
    """
    if levels[0] < PURE_NOISE or levels[1] == 0:
        return x, levels, 0
    denoised = yield Call(x, levels[0], 0)
    return torch.lerp(denoised, x, levels[1] / levels[0]), levels[1:], 1


def _heun(x: Tensor, sigma: float, lower: float, step: int) -> Path:
    """Go from ``sigma`` to ``lower`` along the mean of the slopes at both ends."""
    denoised = yield Call(x, sigma, step)
    slope = (x - denoised) / sigma
    ahead = x + slope * (lower - sigma)
    if lower == 0:
        return ahead
    denoised = yield Call(ahead, lower, step)
    return x + (slope + (ahead - denoised) / lower) * ((lower - sigma) / 2)


def _midpoint(x: Tensor, sigma: float, lower: float, step: int) -> Path:
    """Go from ``sigma`` to ``lower`` along the slope in the middle, by the logarithm."""
    denoised = yield Call(x, sigma, step)
    if lower == 0:
        return denoised
    middle = math.sqrt(sigma * lower)
    halfway = torch.lerp(denoised, x, middle / sigma)
    denoised = yield Call(halfway, middle, step)
    return x + (halfway - denoised) * ((lower - sigma) / middle)


def _by_logarithm(sigma: float, lower: float) -> tuple[float, float, float]:
    """Return two levels and the one in the middle, as they come back from their logarithms.

    In single precision that is not quite where they went, and Brownian noise has it to a digit.
    """
    begin, end = (-torch.tensor(level).log() for level in (sigma, lower))
    upper, middle, lower = ((-at).exp().item() for at in (begin, begin + (end - begin) / 2, end))
    return upper, middle, lower
