"""Samplers that remember what the model predicted before: one call a step, and a higher order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from webui.generation.sampling.solvers import Call, Given, Path


def linear_multistep(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """Adams and Bashforth's method of fourth order over uneven steps (Karras et al. 2022)."""
    past: list[tuple[float, Tensor]] = []
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        denoised = yield Call(x, sigma, step)
        past = [(sigma, (x - denoised) / sigma), *past][:4]
        weights = _multistep_weights([level for level, _ in past], lower)
        for weight, (_, slope) in zip(weights, past, strict=True):
            x = x + weight * slope
    return x


def dpmpp_2m(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2)."""
    before: tuple[Tensor, float] | None = None
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        denoised = yield Call(x, sigma, step)
        ahead = denoised
        if before is not None and lower:
            longer = math.log(sigma / lower) / math.log(before[1] / sigma)
            ahead = denoised + (denoised - before[0]) * (longer / 2)
        x = torch.lerp(ahead, x, lower / sigma)
        before = denoised, sigma
    return x


def dpmpp_2m_sde(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """DPM-Solver++(2M) for the stochastic equation, by the midpoint (the same, appendix A)."""
    return (yield from _sde(x, levels, given, order=2, midpoint=True))


def dpmpp_2m_sde_heun(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """The same by Heun's rule."""
    return (yield from _sde(x, levels, given, order=2))


def dpmpp_3m_sde(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """The same, of third order."""
    return (yield from _sde(x, levels, given, order=3))


def _sde(
    x: Tensor, levels: Sequence[float], given: Given, *, order: int, midpoint: bool = False
) -> Path:
    """Solve the stochastic equation exactly for what the last predictions make a polynomial of."""
    predicted: list[Tensor] = []
    steps: list[float] = []  # lengths in the logarithm of the level, the newest first
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        denoised = yield Call(x, sigma, step)
        if lower == 0:
            return denoised
        predicted = [denoised, *predicted][:order]
        steps = [math.log(sigma / lower), *steps][:order]
        length = steps[0] * (1 + given.eta)
        decay = -math.expm1(-length)
        x = x * math.exp(-length) + decay * denoised
        second = 1 - decay / length
        if len(predicted) > 1:
            slope = (predicted[0] - predicted[1]) * (steps[0] / steps[1])
        if len(predicted) == 2:
            x = x + slope * (decay / 2 if midpoint else second)
        if len(predicted) == 3:
            earlier = (predicted[1] - predicted[2]) * (steps[0] / steps[2])
            bend = (slope - earlier) * (steps[0] / (steps[1] + steps[2]))
            slope = slope + bend * (steps[1] / steps[0])
            x = x + second * slope - (second / length - 0.5) * bend
        if given.eta:
            share = -math.expm1(-2 * given.eta * steps[0])
            noise = given.brownian(sigma, lower) * given.noise_strength
            x = x + noise * (lower * math.sqrt(share))
    return x


def _multistep_weights(sigmas: Sequence[float], lower: float) -> list[float]:
    """Return what each slope counts on the way from ``sigmas[0]`` to ``lower``.

    The polynomial through the slopes at all ``sigmas`` (4 at most) is integrated by Gauss's two
    nodes, which is exact for it.
    """
    middle, half = (lower + sigmas[0]) / 2, (lower - sigmas[0]) / 2
    nodes = [middle - half / math.sqrt(3), middle + half / math.sqrt(3)]
    weights = []
    for own in sigmas:
        others = [other for other in sigmas if other != own]
        weights.append(half * sum(math.prod((at - o) / (own - o) for o in others) for at in nodes))
    return weights
