"""Noise levels: those that a model was trained with, and those that the steps go over.

A level is sigma, the strength of the noise beside a picture of strength 1. All is computed in
single precision, as AUTOMATIC1111 does, because its noise depends on the last digit of a level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from webui.libraries import AysSchedules, DDPMScheduler

LAST_OF_ZERO_SNR = 4.8973451890853435e-08
"""What AUTOMATIC1111 keeps of the picture at the last timestep in place of nothing at all."""
_SCHEDULE_KEYS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
LOWEST_ALIGNED = 0.029
"""The lowest level of Align Your Steps, for which diffusers has the 0 after it."""
BETA_SHAPE = 0.6
"""Both parameters of the distribution of the schedule type Beta."""


@dataclass(frozen=True, eq=False)
class LevelTable:
    """The noise levels that a model was trained with, by timestep, the lowest first."""

    kept: Tensor
    """``[levels]`` float32: the cumulative alphas."""
    stride: int = 1
    """How many timesteps the levels are apart."""

    @classmethod
    def of(cls, config: Mapping[str, Any], half: bool = False) -> LevelTable:
        """Return those of a checkpoint's ``scheduler_config``.

        ``half`` rounds them to half precision first, as AUTOMATIC1111 did before 1.8.
        """
        kept = _cumulative_alphas(config)
        if half:
            kept = kept.half().float()
        if config.get("rescale_betas_zero_snr"):
            kept = _without_picture_at_last(kept)
        return cls(kept)

    @property
    def sigmas(self) -> Tensor:
        """``[levels]`` float32."""
        return ((1 - self.kept) / self.kept) ** 0.5

    @property
    def low(self) -> float:
        """The lowest level."""
        return float(self.sigmas[0])

    @property
    def high(self) -> float:
        """The highest level."""
        return float(self.sigmas[-1])

    @property
    def last(self) -> int:
        """The place of the highest level, which is its timestep where none is left out."""
        return len(self.kept) - 1

    def at(self, timesteps: Tensor) -> Tensor:
        """Return the levels of timesteps ``[n]``, evenly by the logarithm between whole ones."""
        logs, steps = self.sigmas.log(), timesteps.float()
        part = steps.frac()
        return ((1 - part) * logs[steps.floor().long()] + part * logs[steps.ceil().long()]).exp()

    def timestep_of(self, sigma: float) -> float:
        """Return the timestep of a level, the reverse of ``at``."""
        logs = self.sigmas.double().log().numpy()
        return float(np.interp(math.log(sigma), logs, np.arange(len(logs))))

    def timestep_at(self, place: int) -> float:
        """Return the timestep of a level by its place in the table."""
        return float(place * self.stride + self.stride - 1)

    def every(self, stride: int) -> LevelTable:
        """Return those of each ``stride``-th timestep of a whole table, the last among them."""
        return LevelTable(self.kept[stride - 1 :: stride], stride)


def _cumulative_alphas(config: Mapping[str, Any]) -> Tensor:
    options = {key: config[key] for key in _SCHEDULE_KEYS if key in config}
    if options.get("trained_betas") is None and options.get("beta_schedule") == "scaled_linear":
        ends = (options.get("beta_start", 0.0001) ** 0.5, options.get("beta_end", 0.02) ** 0.5)
        count = options.get("num_train_timesteps", 1000)
        betas = torch.linspace(*ends, count, dtype=torch.float64) ** 2
    else:
        betas = DDPMScheduler(**options).betas.double()
    return torch.cumprod(1 - betas, 0).float()


def _without_picture_at_last(kept: Tensor) -> Tensor:
    """Return cumulative alphas that end with noise alone.

    Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed".
    """
    root = kept.sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    rescaled = root**2
    rescaled[-1] = LAST_OF_ZERO_SNR
    return rescaled


@dataclass(frozen=True)
class Span:
    """What a schedule type divides."""

    table: LevelTable
    sdxl: bool = False


LevelsOf = Callable[[int, Span], Tensor]
"""Returns the levels of so many steps ``[steps + 1]`` float32, from the highest down to 0."""


def uniform(count: int, span: Span) -> Tensor:
    """Even timesteps, the first and the last among them."""
    return _and_zero(span.table.at(torch.linspace(span.table.last, 0, count)))


def sgm_uniform(count: int, span: Span) -> Tensor:
    """Even timesteps, without the lowest."""
    return _and_zero(span.table.at(torch.linspace(span.table.last, 0, count + 1)[:-1]))


def simple(count: int, span: Span) -> Tensor:
    """Whole timesteps, as evenly as they go, from the highest down."""
    stride = len(span.table.kept) / count
    return _and_zero(span.table.sigmas[[-1 - int(step * stride) for step in range(count)]])


def ddim(count: int, span: Span) -> Tensor:
    """Whole timesteps a stride apart, from the second up; their number may be another one."""
    stride = max(len(span.table.kept) // count, 1)
    return _and_zero(span.table.sigmas[1::stride].flip(0))


def karras(count: int, span: Span) -> Tensor:
    """Even steps of the seventh root."""
    return karras_between(count, span.table.high, span.table.low)


def karras_between(count: int, high: float, low: float) -> Tensor:
    """Even steps of the seventh root (Karras et al. 2022, arXiv 2206.00364, equation 5)."""
    top, bottom = high ** (1 / 7), low ** (1 / 7)
    return _and_zero((top + torch.linspace(0, 1, count) * (bottom - top)) ** 7)


def exponential(count: int, span: Span) -> Tensor:
    """Even steps of the logarithm."""
    ends = math.log(span.table.high), math.log(span.table.low)
    return _and_zero(torch.linspace(*ends, count).exp())


def polyexponential(count: int, span: Span) -> Tensor:
    """The same with an exponent, AUTOMATIC1111's usual one, which is 1."""
    low = math.log(span.table.low)
    parts = torch.linspace(1, 0, count)
    return _and_zero((parts * (math.log(span.table.high) - low) + low).exp())


def kl_optimal(count: int, span: Span) -> Tensor:
    """Even steps of the arc tangent (Sabour et al. 2024, arXiv 2404.14507, theorem 3.1).

    Their last level is the model's lowest one: what noise there is then stays.
    """
    high, low = (torch.tensor(end).arctan() for end in (span.table.high, span.table.low))
    part = torch.arange(count + 1) / count
    return (part * low + (1.0 - part) * high).tan()


def align_your_steps(count: int, span: Span) -> Tensor:
    """Levels that were optimised for Stable Diffusion and SDXL (Sabour et al. 2024).

    They are 11; other counts lie between them, by the logarithm.
    """
    schedules: dict[str, Any] = AysSchedules
    table = schedules["StableDiffusionXLSigmas" if span.sdxl else "StableDiffusionSigmas"]
    levels = np.log([*table[:-1], LOWEST_ALIGNED])
    places = np.linspace(0, len(levels) - 1, count)
    found = np.exp(np.interp(places, np.arange(len(levels)), levels))
    return _and_zero(torch.from_numpy(found))


def beta(count: int, span: Span) -> Tensor:
    """Quantiles of a beta distribution, dense at both ends (Lee et al. 2024, arXiv 2407.12173)."""
    parts = beta_quantiles(1 - np.linspace(0, 1, count), BETA_SHAPE)
    low, high = span.table.low, span.table.high
    return _and_zero(torch.from_numpy(low + parts * (high - low)))


def beta_quantiles(parts: np.ndarray, shape: float) -> np.ndarray:
    """Return the quantiles of the beta distribution with both parameters ``shape``, 0 to 1.

    The lower half is summed up finely over u = x^shape, in which the density
    (1 - x)^(shape - 1) has no pole; the upper half is its mirror image.
    """
    edges = np.linspace(0, 0.5**shape, 50_001)
    middles = (edges[1:] + edges[:-1]) / 2
    density = (1 - middles ** (1 / shape)) ** (shape - 1)
    below = np.concatenate([[0.0], np.cumsum(density)]) / density.sum() / 2
    lower = np.interp(np.minimum(parts, 1 - parts), below, edges) ** (1 / shape)
    return np.asarray(np.where(parts > 0.5, 1 - lower, lower))


def even_timesteps(steps: int, table: LevelTable) -> list[int]:
    """Return the timesteps of DDIM, PLMS and UniPC, the lowest first.

    They are a stride of whole timesteps apart, so that their number may be a few more than
    ``steps``; DDIM goes from the last to the first of them.
    """
    count = len(table.kept)
    stride = max(count // steps, 1)
    found = [min(each + 1, table.last) for each in range(0, count, stride)]
    return found if len(found) > 1 else [found[0], table.last]


def _and_zero(levels: Tensor | Sequence[float]) -> Tensor:
    found = torch.as_tensor(levels, dtype=torch.float32)
    return torch.cat([found, found.new_zeros(1)])
