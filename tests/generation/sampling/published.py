"""Levels and walks of samplers from the published formulas, written apart from the app's.

Plain and in double precision. The formulas are those of the papers that the app's modules name and
of k-diffusion's and AUTOMATIC1111's documented behaviour; ``bench/parity.py`` compares the app with
k-diffusion itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.polynomial import Polynomial
from scipy.stats import beta
from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]
Between = Callable[[float, float], Tensor]

BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
KEPT = np.cumprod(1 - BETAS).astype(np.float32).astype(np.float64)
"""Cumulative alphas of Stable Diffusion, which are stored in single precision."""
SIGMAS = np.sqrt((1 - KEPT) / KEPT)
LOW, HIGH = SIGMAS[0], SIGMAS[-1]
STABLE_DIFFUSION = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
SDXL = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]


def between_timesteps(timesteps: np.ndarray, sigmas: np.ndarray = SIGMAS) -> np.ndarray:
    return np.exp(np.interp(timesteps, np.arange(len(sigmas)), np.log(sigmas)))


def levels(schedule: str, n: int, sigmas: np.ndarray = SIGMAS, sdxl: bool = False) -> list[float]:
    """The levels of ``n`` steps, the 0 at their end included."""
    low, high, last = sigmas[0], sigmas[-1], len(sigmas) - 1
    steps = np.arange(n)
    parts = steps / max(n - 1, 1)
    if schedule in ("Uniform", "Normal"):
        found = between_timesteps(last * (1 - parts), sigmas)
    elif schedule == "SGM Uniform":
        found = between_timesteps(last * (1 - steps / n), sigmas)
    elif schedule == "Karras":
        found = (high ** (1 / 7) + parts * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    elif schedule in ("Exponential", "Polyexponential"):
        found = high * (low / high) ** parts
    elif schedule == "KL Optimal":
        parts = np.arange(n + 1) / n
        return list(np.tan(parts * np.arctan(low) + (1 - parts) * np.arctan(high)))
    elif schedule == "Align Your Steps":
        table = np.log(SDXL if sdxl else STABLE_DIFFUSION)
        found = np.exp(np.interp(parts * 10, np.arange(11), table))
    elif schedule == "Simple":
        found = sigmas[[-(1 + int(step * (len(sigmas) / n))) for step in range(n)]]
    elif schedule == "DDIM":
        found = sigmas[range(1, len(sigmas), max(len(sigmas) // n, 1))][::-1]
    else:
        assert schedule == "Beta"
        found = low + beta.ppf(1 - parts, 0.6, 0.6) * (high - low)
    return [*found, 0.0]


AUTOMATIC = {
    "Karras": ("DPM++ 2M", "DPM++ SDE", "DPM++ 2S a", "DPM2", "DPM2 a", "Restart"),
    "Exponential": ("DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"),
}


def levels_of(sampler: str, schedule: str, n: int) -> list[float]:
    """The levels that a sampler gets, in the order in which it goes over them."""
    if sampler in ("DDIM", "DDIM CFG++", "PLMS"):
        return [SIGMAS[min(t + 1, 999)] for t in range(0, 1000, 1000 // n)][::-1]
    if sampler == "UniPC":  # timesteps
        count = len(range(0, 1000, 1000 // n))
        return list(np.linspace(999, 0, count + 1))
    if sampler in ("DPM fast", "DPM adaptive"):  # both ends count, which are the model's
        return levels("Exponential", n)
    if schedule == "Automatic":
        schedule = next((key for key, names in AUTOMATIC.items() if sampler in names), "Uniform")
    if sampler in ("DPM2", "DPM2 a", "DPM++ 3M SDE"):
        more = levels(schedule, n + 1)
        return more[:-2] + more[-1:]
    return levels(schedule, n, SIGMAS[19::20] if sampler == "LCM" else SIGMAS)


def walk(
    sampler: str,
    denoise: Denoise,
    x: Tensor,
    given: list[float],
    draw: Callable[[], Tensor],
    brownian: Between,
    eta: float = 1.0,
) -> Tensor:
    """Go from latents ``x`` at the first level to the last by a sampler's formulas."""
    x = x.double()
    if sampler in ("DDIM", "PLMS"):
        return {"DDIM": ddim, "PLMS": plms}[sampler](denoise, x, given, draw, eta)
    if sampler == "DPM fast":
        return dpm_fast(denoise, x, given, draw, eta)
    if sampler == "DPM adaptive":
        return dpm_adaptive(denoise, x, given, draw, eta)
    if sampler == "LMS":
        return lms(denoise, x, given)
    if sampler.startswith("DPM++ 2M") or sampler == "DPM++ 3M SDE":
        return multistep(sampler, denoise, x, given, brownian, eta)
    if sampler == "Restart":
        return restart(denoise, x, given, draw)
    for sigma, lower in zip(given, given[1:], strict=False):
        x = single(sampler, denoise, x, sigma, lower, draw, brownian, eta)
    return x


def up_and_down(sigma: float, lower: float, eta: float) -> tuple[float, float]:
    up = min(lower, eta * math.sqrt(lower**2 * (sigma**2 - lower**2) / sigma**2))
    return up, math.sqrt(lower**2 - up**2)


def single(
    sampler: str,
    denoise: Denoise,
    x: Tensor,
    sigma: float,
    lower: float,
    draw: Callable[[], Tensor],
    brownian: Between,
    eta: float,
) -> Tensor:
    slope = (x - denoise(x, sigma)) / sigma
    if sampler in ("Euler", "Heun", "DPM2"):
        up, down = 0.0, lower
    else:
        up, down = up_and_down(sigma, lower, eta)
    straight = x + slope * (down - sigma)
    if lower == 0 or sampler in ("Euler", "Euler a"):
        return straight + (up * draw() if sampler == "Euler a" and lower else 0)
    if sampler == "Heun":
        return x + (slope + (straight - denoise(straight, lower)) / lower) / 2 * (lower - sigma)
    if sampler in ("DPM2", "DPM2 a"):
        if down == 0:
            return straight
        middle = math.exp((math.log(sigma) + math.log(down)) / 2)
        half = x + slope * (middle - sigma)
        x = x + (half - denoise(half, middle)) / middle * (down - sigma)
        return x + (up * draw() if sampler == "DPM2 a" else 0)
    if sampler == "DPM++ 2S a":
        if down:
            h = math.log(sigma / down)
            half = math.exp(-h / 2) * x - math.expm1(-h / 2) * denoise(x, sigma)
            seen = denoise(half, sigma * math.exp(-h / 2))
            straight = math.exp(-h) * x - math.expm1(-h) * seen
        return straight + up * draw()
    assert sampler == "DPM++ SDE"
    middle = math.sqrt(sigma * lower)
    first_up, first_down = up_and_down(sigma, middle, eta)
    half = x + slope * (first_down - sigma) + first_up * brownian(sigma, middle)
    seen = denoise(half, middle)
    return seen + (x - seen) * (down / sigma) + up * brownian(sigma, lower)


def lms(denoise: Denoise, x: Tensor, given: list[float]) -> Tensor:
    slopes: list[Tensor] = []
    for step in range(len(given) - 1):
        slopes.append((x - denoise(x, given[step])) / given[step])
        order = min(step + 1, 4)
        for back in range(order):
            basis = Polynomial([1.0])
            for other in set(range(order)) - {back}:
                a, b = given[step - back], given[step - other]
                basis *= Polynomial([-b, 1]) / (a - b)
            whole = basis.integ()
            x = x + float(whole(given[step + 1]) - whole(given[step])) * slopes[-1 - back]
    return x


def multistep(
    sampler: str,
    denoise: Denoise,
    x: Tensor,
    given: list[float],
    brownian: Between,
    eta: float,
) -> Tensor:
    """In the half logarithm of the signal-to-noise ratio, lambda = -log sigma."""
    seen: list[Tensor] = []
    steps: list[float] = []
    eta = 0.0 if sampler == "DPM++ 2M" else eta
    for sigma, lower in zip(given, given[1:], strict=False):
        seen.append(denoise(x, sigma))
        if lower == 0:
            return seen[-1]
        steps.append(math.log(sigma) - math.log(lower))
        h, z = steps[-1], steps[-1] * (1 + eta)
        phi1, phi2 = 1 - math.exp(-z), (math.exp(-z) - 1) / z + 1
        x = math.exp(-z) * x + phi1 * seen[-1]
        if len(seen) > 1:
            d0 = (seen[-1] - seen[-2]) / (steps[-2] / h)
            if sampler == "DPM++ 3M SDE" and len(seen) > 2:
                r0, r1 = steps[-2] / h, steps[-3] / h
                d1 = (seen[-2] - seen[-3]) / r1
                x = x + phi2 * (d0 + (d0 - d1) * r0 / (r0 + r1))
                x = x - (phi2 / z - 0.5) * (d0 - d1) / (r0 + r1)
            else:
                x = x + d0 * (phi1 / 2 if sampler in ("DPM++ 2M", "DPM++ 2M SDE") else phi2)
        if eta:
            x = x + brownian(sigma, lower) * lower * math.sqrt(1 - math.exp(-2 * h * eta))
    return x


class Third:
    """A step of DPM-Solver-3 with DPM-Solver-2 along the way, in lambda."""

    def __init__(self, denoise: Denoise, x: Tensor, sigma: float, lower: float) -> None:
        h = math.log(sigma / lower)

        def noise(at: Tensor, level: float) -> Tensor:
            return (at - denoise(at, level)) / level

        e0 = noise(x, sigma)
        s1, s2 = (sigma * math.exp(-part * h) for part in (1 / 3, 2 / 3))
        e1 = noise(x - s1 * math.expm1(h / 3) * e0, s1)
        self.second = x - lower * math.expm1(h) * e0 - 1.5 * lower * math.expm1(h) * (e1 - e0)
        u = x - s2 * math.expm1(2 * h / 3) * e0
        u = u - 2 * s2 * (math.expm1(2 * h / 3) / (2 * h / 3) - 1) * (e1 - e0)
        e2 = noise(u, s2)
        self.third = x - lower * math.expm1(h) * e0
        self.third = self.third - 1.5 * lower * (math.expm1(h) / h - 1) * (e2 - e0)


def dpm_fast(
    denoise: Denoise, x: Tensor, given: list[float], draw: Callable[[], Tensor], eta: float
) -> Tensor:
    n = len(given) - 1
    orders = [3] * (n // 3 - 1) + [2, 1] if n % 3 == 0 else [3] * (n // 3) + [n % 3]
    ends = np.exp(np.linspace(math.log(given[0]), math.log(given[-2]), len(orders) + 1))
    for order, sigma, lower in zip(orders, ends, ends[1:], strict=False):
        down = max(up_and_down(sigma, lower, eta)[1], given[-2])
        up = math.sqrt(lower**2 - down**2)
        slope = (x - denoise(x, sigma)) / sigma
        if order == 3:
            x = Third(denoise, x, sigma, down).third
        elif order == 2:
            half = x + slope * (math.sqrt(sigma * down) - sigma)
            middle = math.sqrt(sigma * down)
            x = x + (half - denoise(half, middle)) / middle * (down - sigma)
        else:
            x = x + slope * (down - sigma)
        x = x + up * draw()
    return x


def dpm_adaptive(
    denoise: Denoise, x: Tensor, given: list[float], draw: Callable[[], Tensor], eta: float
) -> Tensor:
    at, end, h, before = -math.log(given[0]), -math.log(given[-2]), 0.05, x
    while at < end - 1e-5:
        to = min(end, at + h)
        sigma, lower = math.exp(-at), math.exp(-to)
        down = max(up_and_down(sigma, lower, eta)[1], given[-2])
        step = Third(denoise, x, sigma, down)
        tolerated = 0.05 * torch.maximum(step.second.abs(), before.abs())
        ratio = (step.second - step.third) / tolerated.clamp(min=0.0078)
        error = float(ratio.norm()) / math.sqrt(x.numel())
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / (1.5 if eta else 3)) - 1)
        if factor >= 0.81:
            before, at = step.second, to
            x = step.third + math.sqrt(max(lower**2 - down**2, 0)) * draw()
        h *= factor
    return x


def restart(denoise: Denoise, x: Tensor, given: list[float], draw: Callable[[], Tensor]) -> Tensor:
    steps = len(given) - 1
    ways = [given]
    if steps >= 20:
        length, times = (9, 1) if steps < 36 else (steps // 4, 2)
        high, low = given[0] ** (1 / 7), given[-2] ** (1 / 7)
        main = [*(np.linspace(high, low, steps - length * times) ** 7), 0.0]
        bottom = int(np.argmin(np.abs(np.array(main) - 0.1)))
        top = int(np.argmin(np.abs(np.array(main) - 2)))
        again = np.linspace(main[top] ** (1 / 7), main[bottom] ** (1 / 7), length + 1) ** 7
        ways = [main[: bottom + 1], *[list(again)] * times, main[bottom:]]
    last = ways[0][0]
    for way in ways:
        if way[0] > last:
            x = x + draw() * math.sqrt(way[0] ** 2 - last**2)
        for sigma, lower in zip(way, way[1:], strict=False):
            x = single("Heun", denoise, x, sigma, lower, draw, lambda a, b: torch.zeros(1), 0)
        last = way[-1]
    return x


def ddim(
    denoise: Denoise, x: Tensor, given: list[float], draw: Callable[[], Tensor], eta: float
) -> Tensor:
    """On latents of variance 1; takes and returns those of ``picture + sigma · noise``."""
    kept = [1 / (1 + sigma**2) for sigma in given]
    x = x * math.sqrt(kept[0])
    for a, p in zip(kept, kept[1:], strict=False):
        picture = denoise(x / math.sqrt(a), math.sqrt((1 - a) / a))
        noise = (x - math.sqrt(a) * picture) / math.sqrt(1 - a)
        s = eta * math.sqrt((1 - p) / (1 - a) * (1 - a / p))
        x = math.sqrt(p) * picture + math.sqrt(1 - p - s**2) * noise
        x = x + (s * draw() if eta else 0)
    return x / math.sqrt(kept[-1])


def plms(
    denoise: Denoise, x: Tensor, given: list[float], draw: Callable[[], Tensor], eta: float
) -> Tensor:
    """The same, along Adams and Bashforth's mean of the noises."""
    kept = [1 / (1 + sigma**2) for sigma in given]
    x = x * math.sqrt(kept[0])
    past: list[Tensor] = []

    def noise_in(at: Tensor, a: float) -> Tensor:
        picture = denoise(at / math.sqrt(a), math.sqrt((1 - a) / a))
        return (at - math.sqrt(a) * picture) / math.sqrt(1 - a)

    def step(noise: Tensor, a: float, p: float) -> Tensor:
        picture = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
        return math.sqrt(p) * picture + math.sqrt(1 - p) * noise

    for a, p in zip(kept, kept[1:], strict=False):
        past.append(noise_in(x, a))
        if len(past) == 1:
            mean = (past[0] + noise_in(step(past[0], a, p), p)) / 2
        elif len(past) == 2:
            mean = (3 * past[-1] - past[-2]) / 2
        elif len(past) == 3:
            mean = (23 * past[-1] - 16 * past[-2] + 5 * past[-3]) / 12
        else:
            mean = (55 * past[-1] - 59 * past[-2] + 37 * past[-3] - 9 * past[-4]) / 24
        x = step(mean, a, p)
    return x / math.sqrt(kept[-1])
