"""DPM-Solver with a fixed number of calls, and with steps as long as the error allows.

They are our own because diffusers' single-step solver takes neither AUTOMATIC1111's steps nor an
error.
Lu et al. 2022, "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around
10 Steps", arXiv 2206.00927. Both go down to the lowest sigma that the model knows, evenly in its
logarithm where nothing else decides; the schedule type says where the steps of prompts lie, and
where a second pass begins. What noise is left at the end goes without another call.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from webui.generation.sampling.solvers import Call, Noise, Path, Solver, leave_pure_noise

Walk = Generator[Call, Tensor, tuple[Tensor, Tensor]]
"""Asks as ``Path`` does; returns latents and the last noise that was found in them."""


class _DpmSolver(Solver):
    """What both have in common."""

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Walk down to the model's lowest sigma, and leave out the rest of the noise."""
        ends_of_steps = levels[1:-1]
        x, levels, done = yield from leave_pure_noise(x, levels)
        if levels[0] < 2 * self.lowest:
            return (yield Call(x, levels[0], done))
        x, eps = yield from self.walk(x, levels[0], done, ends_of_steps)
        return x - self.lowest * eps

    def walk(self, x: Tensor, sigma: float, done: int, ends: Sequence[float]) -> Walk:
        """Go from ``sigma`` to the lowest one, ``done`` steps being done.

        ``ends`` are the levels at which one step goes over into the next.
        """
        raise NotImplementedError


class DpmFast(_DpmSolver):
    """As many calls as steps, three to a step of third order (appendix D.4)."""

    def walk(self, x: Tensor, sigma: float, done: int, ends: Sequence[float]) -> Walk:
        """Take one call for each step that is left."""
        orders = orders_of(len(ends) + 1 - done)
        levels = np.geomspace(sigma, self.lowest, len(orders) + 1).tolist()
        for order, (above, below) in zip(orders, pairwise(levels), strict=True):
            eps = yield from _noise_in(x, above, done)
            if order == 1:
                x = x - (above - below) * eps
            elif order == 2:
                middle = math.sqrt(above * below)
                eps = yield from _noise_in(x - (above - middle) * eps, middle, done + 1)
                x = x - (above - below) * eps
            else:
                x, eps = yield from _Third(x, above, below, eps).walk(done + 1, done + 2)
            done += order
        return x, eps


class DpmAdaptive(_DpmSolver):
    """Third order, in steps of which the second order differs little enough (appendix C)."""

    one_by_one = True
    first_step, shortest_step = 0.05, 0.03
    """In log sigma. The shortest is taken whatever its error, so that there is an end."""
    absolute, relative = 0.0078, 0.05
    """Tolerances of latents, as the paper has them."""

    def walk(self, x: Tensor, sigma: float, done: int, ends: Sequence[float]) -> Walk:
        """Take three calls a step, and two more for each that was too long."""
        length, eps, before = self.first_step, None, x
        while True:
            step = sum(end >= sigma for end in ends)
            length = min(length, math.log(sigma / self.lowest))
            lower = sigma * math.exp(-length)
            if eps is None:
                eps = yield from _noise_in(x, sigma, step)
            third = _Third(x, sigma, lower, eps)
            higher, last = yield from third.walk(step, step)
            error = self.error(third.second_order(), higher, before)
            if not math.isfinite(error):
                return higher, last
            if error <= 1 or length <= self.shortest_step:
                before, x, sigma, eps = third.second_order(), higher, lower, None
                if sigma < 1.001 * self.lowest:
                    return x, last
            length *= min(2.0, 0.9 * max(error, 1e-3) ** (-1 / 3))
            length = max(self.shortest_step, length)

    def error(self, lower: Tensor, higher: Tensor, before: Tensor) -> float:
        """Return how far two orders are apart; 1 is what is tolerated."""
        largest = torch.maximum(lower.abs(), before.abs())
        tolerated = (self.relative * largest).clamp(min=self.absolute)
        return float(((lower - higher) / tolerated).square().mean().sqrt())


class _Third:
    """A step of third order, with one of second order along the way (equations 11 and 12)."""

    def __init__(self, x: Tensor, sigma: float, lower: float, eps: Tensor) -> None:
        self._x, self._sigma, self._lower, self._eps = x, sigma, lower, eps
        self._length = math.log(sigma / lower)

    def walk(self, *steps: int) -> Walk:
        """Take two calls; returns the latents at ``lower`` and the last noise that was found."""
        x, sigma, eps, length = self._x, self._sigma, self._eps, self._length
        first, second = (sigma * math.exp(-part * length) for part in (1 / 3, 2 / 3))
        found = yield from _noise_in(x - (sigma - first) * eps, first, steps[0])
        self._change = found - eps
        bend = 2 * second * _bend(2 / 3 * length)
        halfway = x - (sigma - second) * eps - bend * self._change
        last = yield from _noise_in(halfway, second, steps[1])
        bend = 1.5 * self._lower * _bend(length)
        return x - (sigma - self._lower) * eps - bend * (last - eps), last

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
    return math.expm1(length) / length - 1
