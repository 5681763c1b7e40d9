"""Samplers that go over even timesteps of the model and take no schedule type.

They were written for latents of variance 1, ``x / sqrt(sigma² + 1)``; here, like the others, they
work on ``picture + sigma · noise``. Both ends are as AUTOMATIC1111 has them: the last level is no
0, so that the noise of the first timesteps stays in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from webui.generation.sampling.noise import PURE_NOISE
from webui.generation.sampling.solvers import Call, Given, Path, ancestral

UNIPC_ORDER = 3
"""AUTOMATIC1111's usual one."""


def ddim(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """Steps along the predicted noise (Song et al. 2020, arXiv 2010.02502)."""
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        denoised = yield Call(x, sigma, step)
        down, up = ancestral(sigma, lower, given.eta)
        x = denoised + (x - denoised) * (down / sigma)
        if given.eta:
            x = x + up * given.noise()
    return x


def ddim_cfg_plus_plus(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """DDIM whose noise is the unguided one (Chung et al. 2024, "CFG++", arXiv 2406.08070)."""
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        denoised = yield Call(x, sigma, step)
        down, up = ancestral(sigma, lower, given.eta)
        x = denoised + (x - given.unguided()) * (down / sigma)
        if given.eta:
            x = x + up * given.noise()
    return x


PLMS_WEIGHTS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Adams and Bashforth's for even steps, by order; the newest noise first."""


def plms(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """DDIM's steps along a noise of fourth order (Liu et al. 2022, arXiv 2202.09778).

    The first step looks ahead and takes two calls.
    """
    past: list[Tensor] = []
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        denoised = yield Call(x, sigma, step)
        past = [(x - denoised) / sigma, *past][:4]
        weights = PLMS_WEIGHTS[len(past) - 1]
        noise = sum((weight * each for weight, each in zip(weights, past, strict=True)), 0 * x)
        if step == 0 and sigma < PURE_NOISE:
            ahead = x + (lower - sigma) * noise
            denoised = yield Call(ahead, lower, step)
            noise = (noise + (ahead - denoised) / lower) / 2
        x = x + (lower - sigma) * noise
    return x


def unipc(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """Predict, and correct with the prediction at the end of the step.

    Zhao et al. 2023, "UniPC", arXiv 2302.04867, with B(h) = h and of third order. ``levels`` are
    timesteps here, which need not be whole.
    """
    sigmas = [_sigma_of(given, timestep) for timestep in levels]
    lambdas = [-math.log(sigma) for sigma in sigmas]
    steps = len(levels) - 1
    denoised = yield Call(x, sigmas[0], 0, levels[0])
    past = [denoised]
    for step in range(steps):
        order = min(UNIPC_ORDER, step + 1, steps - step)
        length = lambdas[step + 1] - lambdas[step]
        places = [(lambdas[step - back] - lambdas[step]) / length for back in range(1, order)]
        slopes = [(past[back] - past[0]) / place for back, place in enumerate(places, start=1)]
        lower = sigmas[step + 1]
        # what the last prediction alone leads to, in x = picture + sigma · noise
        plain = torch.lerp(past[0], x, lower / sigmas[step])
        weights = _weights(places, length)
        if order == 2:
            weights = [0.5]
        x = plain + length * _weighed(weights, slopes, x)
        if step + 1 == steps:
            break
        denoised = yield Call(x, lower, step + 1, levels[step + 1])
        corrected = _weights([*places, 1.0], length) if order > 1 else [0.5]
        x = plain + length * _weighed(corrected, [*slopes, denoised - past[0]], x)
        past = [denoised, *past][:UNIPC_ORDER]
    return x


def _sigma_of(given: Given, timestep: float) -> float:
    """Return the level of a timestep, evenly by the logarithm of alpha between whole ones."""
    logs = given.table.kept.log().numpy()
    kept = math.exp(np.interp(timestep, np.arange(len(logs)), logs))
    return math.sqrt((1 - kept) / kept)


def _weights(places: Sequence[float], length: float) -> list[float]:
    """Return what each slope counts, the solution of the paper's equation 7 for data prediction.

    ``places`` are where the slopes lead, as parts of the step's ``length`` in log sigma.
    """
    if not places:
        return []
    wanted, part, factorial = [], math.expm1(-length) / -length - 1, 1
    for order in range(1, len(places) + 1):
        wanted.append(part * factorial / -length)
        factorial *= order + 1
        part = part / -length - 1 / factorial
    powers = np.array([[place**order for place in places] for order in range(len(places))])
    solved: list[float] = np.linalg.solve(powers, np.array(wanted)).tolist()
    return solved


def _weighed(weights: Sequence[float], slopes: Sequence[Tensor], like: Tensor) -> Tensor:
    return sum(
        (weight * slope for weight, slope in zip(weights, slopes, strict=True)),
        torch.zeros_like(like),
    )
