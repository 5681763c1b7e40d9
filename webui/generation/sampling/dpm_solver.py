"""DPM-Solver with a fixed number of calls, and with steps as long as the error allows.

Lu et al. 2022, "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around
10 Steps", arXiv 2206.00927. Both go down to the lowest sigma that the model knows, evenly in its
logarithm where nothing else decides; of the levels they are given they take both ends alone. What
noise is left at the end stays.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from webui.generation.sampling.solvers import Call, Given, Path, ancestral, leave_pure_noise

Walk = Generator[Call, Tensor, Tensor]

FIRST_STEP, SHORTEST_STEP = 0.05, 0.01
"""In log sigma. The shortest is taken whatever its error, so that there is an end."""
ABSOLUTE, RELATIVE = 0.0078, 0.05
"""Tolerances of latents, as the paper has them."""
ACCEPTED = 0.81
"""A step is taken if the next one may be at least so long, as a part of it."""
END = 1e-5
"""In log sigma: how near the end is near enough."""


def dpm_fast(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """As many calls as steps, three to a step of third order (appendix D.4)."""
    x, levels, done = yield from leave_pure_noise(x, levels)
    end = _end(levels, given)
    if math.log(levels[0] / end) <= END:
        return (yield Call(x, levels[0], done))
    orders = orders_of(len(levels) - 1)
    span = torch.linspace(math.log(levels[0]), math.log(end), len(orders) + 1).exp().tolist()
    for order, (sigma, lower) in zip(orders, pairwise(span), strict=True):
        down, up = _apart(sigma, lower, end, given.eta)
        eps = yield from _noise_in(x, sigma, done)
        if order == 1:
            x = x - (sigma - down) * eps
        elif order == 2:
            middle = math.sqrt(sigma * down)
            eps = yield from _noise_in(x - (sigma - middle) * eps, middle, done + 1)
            x = x - (sigma - down) * eps
        else:
            x = yield from _Third(x, sigma, down, eps).walk(done + 1, done + 2)
        x = x + up * given.noise_strength * given.noise()
        done += order
    return x


def dpm_adaptive(x: Tensor, levels: Sequence[float], given: Given) -> Path:
    """Third order, in steps of which the second order differs little enough (appendix C)."""
    ends_of_steps = levels[1:-1]
    x, levels, done = yield from leave_pure_noise(x, levels)
    sigma, end = levels[0], _end(levels, given)
    if math.log(sigma / end) <= END:
        return (yield Call(x, sigma, done))
    length, before = FIRST_STEP, x
    while math.log(sigma / end) > END:
        step = sum(each >= sigma for each in ends_of_steps)
        lower = sigma * math.exp(-min(length, math.log(sigma / end)))
        down, up = _apart(sigma, lower, end, given.eta)
        eps = yield from _noise_in(x, sigma, step)
        third = _Third(x, sigma, down, eps)
        higher = yield from third.walk(step, step)
        second = third.second_order()
        error = _error(second, higher, before)
        if not math.isfinite(error):
            return higher
        longer = 1 + math.atan((1 / (error + 1e-8)) ** (1 / (1.5 if given.eta else 3)) - 1)
        if longer >= ACCEPTED or length <= SHORTEST_STEP:
            before, x, sigma = second, higher + up * given.noise(), lower
        length = max(length * longer, SHORTEST_STEP)
    return x


def _end(levels: Sequence[float], given: Given) -> float:
    return levels[-2] if len(levels) > 2 else given.table.low


def _apart(sigma: float, lower: float, end: float, eta: float) -> tuple[float, float]:
    """Return the level to go down to, not below ``end``, and the noise to add then."""
    down = max(ancestral(sigma, lower, eta)[0], end)
    return down, math.sqrt(max(lower**2 - down**2, 0.0))


def _error(lower: Tensor, higher: Tensor, before: Tensor) -> float:
    """Return how far two orders are apart; 1 is what is tolerated."""
    largest = torch.maximum(lower.abs(), before.abs())
    tolerated = (RELATIVE * largest).clamp(min=ABSOLUTE)
    return float(((lower - higher) / tolerated).square().mean().sqrt())


class _Third:
    """A step of third order, with one of second order along the way (equations 11 and 12)."""

    def __init__(self, x: Tensor, sigma: float, lower: float, eps: Tensor) -> None:
        self._x, self._sigma, self._lower, self._eps = x, sigma, lower, eps
        self._length = math.log(sigma / lower)

    def walk(self, *steps: int) -> Walk:
        """Take two calls; returns the latents at ``lower``."""
        x, sigma, eps, length = self._x, self._sigma, self._eps, self._length
        first, second = (sigma * math.exp(-part * length) for part in (1 / 3, 2 / 3))
        found = yield from _noise_in(x - (sigma - first) * eps, first, steps[0])
        self._change = found - eps
        bend = 2 * second * _bend(2 / 3 * length)
        halfway = x - (sigma - second) * eps - bend * self._change
        last = yield from _noise_in(halfway, second, steps[1])
        bend = 1.5 * self._lower * _bend(length)
        return x - (sigma - self._lower) * eps - bend * (last - eps)

    def second_order(self) -> Tensor:
        """Return the latents at ``lower`` from the first two calls alone."""
        return self._x - (self._sigma - self._lower) * (self._eps + 1.5 * self._change)


def orders_of(calls: int) -> list[int]:
    """Return the orders of the steps that take so many calls together."""
    threes, rest = divmod(calls, 3)
    return [3] * threes + [rest] if rest else [3] * (threes - 1) + [2, 1]


def _noise_in(x: Tensor, sigma: float, step: int) -> Path:
    """Return the noise that the model sees in latents."""
    denoised = yield Call(x, sigma, step)
    return (x - denoised) / sigma


def _bend(length: float) -> float:
    """Return (e^h - 1) / h - 1, the weight of a slope over a step of ``h`` in log sigma."""
    return math.expm1(length) / length - 1 if length else 0.0
