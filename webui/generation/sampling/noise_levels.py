"""Schedule types that spread a sampler's noise levels over the model's range.

A level is sigma, the strength of the noise beside a picture of strength 1. All functions return
``[count]`` levels from the highest down; the picture itself, level 0, comes after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Span:
    """What a model lets a schedule type spread over."""

    low: float
    """Lowest level that the model was trained with."""
    high: float
    """Highest level below pure noise."""
    sdxl: bool = False


def karras(count: int, span: Span) -> np.ndarray:
    """Even steps of the seventh root (Karras et al. 2022, arXiv 2206.00364, equation 5)."""
    return np.linspace(span.high ** (1 / 7), span.low ** (1 / 7), count) ** 7


def exponential(count: int, span: Span) -> np.ndarray:
    """Even steps of the logarithm."""
    return np.geomspace(span.high, span.low, count)


def kl_optimal(count: int, span: Span) -> np.ndarray:
    """Even steps of the arc tangent (Sabour et al. 2024, arXiv 2404.14507, theorem 3.1)."""
    return np.tan(np.linspace(np.arctan(span.high), np.arctan(span.low), count))


def beta(count: int, span: Span) -> np.ndarray:
    """Quantiles of a beta distribution, dense at both ends (Lee et al. 2024, arXiv 2407.12173)."""
    return span.low + (span.high - span.low) * beta_quantiles(np.linspace(1, 0, count), 0.6)


def beta_quantiles(parts: np.ndarray, shape: float) -> np.ndarray:
    """Return the quantiles of the beta distribution with both parameters ``shape``, 0 to 1.

    With x = sin²(a) its density is that of (sin a · cos a)^(2·shape - 1) over a, which has no
    poles and is summed up finely.
    """
    edges = np.linspace(0, np.pi / 2, 20_001)
    middles = (edges[1:] + edges[:-1]) / 2
    density = (np.sin(middles) * np.cos(middles)) ** (2 * shape - 1)
    below = np.concatenate([[0.0], np.cumsum(density)]) / density.sum()
    sine: np.ndarray = np.sin(np.interp(parts, below, edges))
    return sine**2


def align_your_steps(count: int, span: Span) -> np.ndarray:
    """Levels that were optimised for Stable Diffusion and SDXL (Sabour et al. 2024).

    They are 11; other counts lie between them, by the logarithm.
    """
    from webui.libraries import AysSchedules

    schedules: dict[str, Any] = AysSchedules
    table = schedules["StableDiffusionXLSigmas" if span.sdxl else "StableDiffusionSigmas"]
    levels = np.log([*table[:-1], span.low])
    places = np.linspace(0, len(levels) - 1, count)
    return np.exp(np.interp(places, np.arange(len(levels)), levels))
