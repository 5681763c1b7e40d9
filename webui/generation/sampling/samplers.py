"""Samplers and schedule types under AUTOMATIC1111's names, and the levels that they go over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from webui.generation.sampling.noise import PURE_NOISE

if TYPE_CHECKING:
    from torch import Tensor

    from webui.generation.sampling.noise_levels import LevelTable
    from webui.generation.sampling.solvers import Given, Path


@dataclass(frozen=True)
class Sampler:
    """How a sampler walks, and what it needs for that."""

    walk: str
    """Name of a function in ``module``."""
    aliases: tuple[str, ...] = ()
    """AUTOMATIC1111's other names, which clients of its API use."""
    automatic: str = "Uniform"
    """The schedule type that "Automatic" stands for."""
    module: str = "solvers"
    """In this room."""
    eta: float | None = None
    """What the noise added in each step is multiplied by, unless a request says otherwise; None if
    the sampler has no such noise."""
    calls: int = 1
    """Calls of the UNet that a step counts as, for schedules in prompts."""
    brownian: bool = False
    """Whether its noise is that of a Brownian motion."""
    by_timesteps: bool = False
    """Whether it goes over even timesteps, whatever the schedule type."""
    own_steps: bool = False
    """Whether it takes nothing but both ends of the levels, and without a start from a picture
    those of the model."""
    leaves_out_last_but_one: bool = False
    """Whether the lowest level before 0 is left out, with one step more to make up for it."""
    stride: int = 1
    """How many timesteps of the model those that it knows are apart."""
    between_timesteps: bool = False
    """Whether it goes over timesteps, which need not be whole ones, in the place of levels."""
    one_by_one: bool = False
    """Whether a batch is drawn picture by picture, because each one goes its own way."""
    cfg_unit: float = 1.0
    """The CFG scale that stands for a guidance of 1."""
    unguided: bool = False
    """Whether it asks what the model predicts without guidance, too."""

    def path(self, x: Tensor, levels: Sequence[float], given: Given) -> Path:
        """Walk from latents ``[batch, 4, h, w]`` at the first level down to the last."""
        room = import_module(f"{__package__}.{self.module}")
        walk: Callable[[Tensor, Sequence[float], Given], Path] = getattr(room, self.walk)
        return walk(x, levels, given)


SAMPLERS: Mapping[str, Sampler] = {
    "DPM++ 2M": Sampler("dpmpp_2m", ("k_dpmpp_2m",), "Karras", "multistep"),
    "DPM++ SDE": Sampler("dpmpp_sde", ("k_dpmpp_sde",), "Karras", eta=1, calls=2, brownian=True),
    "DPM++ 2M SDE": Sampler(
        "dpmpp_2m_sde", ("k_dpmpp_2m_sde",), "Exponential", "multistep", eta=1, brownian=True
    ),
    "DPM++ 2M SDE Heun": Sampler(
        "dpmpp_2m_sde_heun",
        ("k_dpmpp_2m_sde_heun",),
        "Exponential",
        "multistep",
        eta=1,
        brownian=True,
    ),
    "DPM++ 2S a": Sampler("dpmpp_2s_ancestral", ("k_dpmpp_2s_a",), "Karras", eta=1, calls=2),
    "DPM++ 3M SDE": Sampler(
        "dpmpp_3m_sde",
        ("k_dpmpp_3m_sde",),
        "Exponential",
        "multistep",
        eta=1,
        brownian=True,
        leaves_out_last_but_one=True,
    ),
    "Euler a": Sampler("euler_ancestral", ("k_euler_a", "k_euler_ancestral"), eta=1),
    "Euler": Sampler("euler", ("k_euler",)),
    "LMS": Sampler("linear_multistep", ("k_lms",), module="multistep"),
    "Heun": Sampler("heun", ("k_heun",), calls=2),
    "DPM2": Sampler("dpm2", ("k_dpm_2",), "Karras", calls=2, leaves_out_last_but_one=True),
    "DPM2 a": Sampler(
        "dpm2_ancestral", ("k_dpm_2_a",), "Karras", eta=1, calls=2, leaves_out_last_but_one=True
    ),
    "DPM fast": Sampler("dpm_fast", ("k_dpm_fast",), module="dpm_solver", eta=1, own_steps=True),
    "DPM adaptive": Sampler(
        "dpm_adaptive",
        ("k_dpm_ad",),
        module="dpm_solver",
        eta=1,
        own_steps=True,
        one_by_one=True,
    ),
    "Restart": Sampler("restart", ("restart",), "Karras", calls=2),
    "DDIM": Sampler("ddim", ("ddim",), module="timesteps", eta=0, by_timesteps=True),
    "DDIM CFG++": Sampler(
        "ddim_cfg_plus_plus",
        ("ddim_cfgpp",),
        module="timesteps",
        eta=0,
        by_timesteps=True,
        cfg_unit=12.5,
        unguided=True,
    ),
    "PLMS": Sampler("plms", ("plms",), module="timesteps", by_timesteps=True),
    "UniPC": Sampler(
        "unipc", ("unipc",), module="timesteps", by_timesteps=True, between_timesteps=True
    ),
    "LCM": Sampler("lcm", ("k_lcm",), stride=20),
}
"""Every sampler of the page and the API, the default first."""

SCHEDULE_TYPES: Mapping[str, str] = {
    "Automatic": "",
    "Uniform": "uniform",
    "Karras": "karras",
    "Exponential": "exponential",
    "Polyexponential": "polyexponential",
    "SGM Uniform": "sgm_uniform",
    "KL Optimal": "kl_optimal",
    "Align Your Steps": "align_your_steps",
    "Simple": "simple",
    "Normal": "uniform",
    "DDIM": "ddim",
    "Beta": "beta",
}
"""Every schedule type, and the function of ``noise_levels`` that it is."""


def split_sampler(name: str) -> tuple[str, str]:
    """Return the sampler and the schedule type of a name such as "DPM++ 2M Karras".

    Names of old versions have the schedule type at their end; aliases are understood, too. Case is
    ignored; a name that is not known comes back as it is, with "Automatic".
    """
    names = {alias: known for known, each in SAMPLERS.items() for alias in each.aliases}
    names |= {known.casefold(): known for known in SAMPLERS}
    wanted = " ".join(name.split()).casefold()
    if wanted in names:
        return names[wanted], "Automatic"
    for schedule in SCHEDULE_TYPES:
        plain = wanted.removesuffix(f" {schedule.casefold()}")
        if plain != wanted and plain in names:
            return names[plain], schedule
    return name, "Automatic"


def sampler_warnings(sampler: str, schedule_type: str, eta: float | None) -> tuple[str, ...]:
    """Say what has no effect with a sampler."""
    warnings = []
    chosen = SAMPLERS[sampler]
    if eta is not None and chosen.eta is None:
        warnings.append(f"Eta has no effect with the sampler {sampler}.")
    if schedule_type != "Automatic" and (chosen.by_timesteps or chosen.own_steps):
        warnings.append(
            f"The schedule type has no effect with the sampler {sampler}, which has its own steps."
        )
    return tuple(warnings)


@dataclass(frozen=True)
class Course:
    """Where a walk begins, and the levels that it goes over."""

    levels: tuple[float, ...]
    """From the highest down, as the sampler's walk takes them."""
    noise: float
    """Strength of the noise to begin with."""
    picture: float
    """Strength of the picture to begin with, where there is one."""
    end: float
    """What the last latents are multiplied by."""
    low: float
    high: float
    """The ends of all levels, also of those that are left out for a start from a picture."""


@dataclass(frozen=True)
class LevelSettings:
    """What besides sampler and schedule type decides the levels."""

    sdxl: bool = False
    leave_out_last_but_one: bool = False
    """Whether every sampler leaves it out."""
    full_noise: bool = False
    """Whether the noise to begin with is as strong as the level and a picture together."""


def lay_out(
    sampler: str,
    schedule_type: str,
    table: LevelTable,
    steps: int,
    taken: int | None = None,
    settings: LevelSettings = LevelSettings(),  # noqa: B008 - frozen
) -> Course:
    """Lay out ``steps`` steps, of which the last ``taken`` are gone when a picture is drawn over.

    A model trained with zero terminal SNR begins with pure noise, and "Automatic" keeps to even
    timesteps there, of which fewer are spent on it.
    """
    chosen = SAMPLERS[sampler]
    table = table.every(chosen.stride)
    if chosen.by_timesteps:
        return _by_timesteps(chosen, table, steps, taken)
    name = schedule_type
    if name == "Automatic":
        name = "Uniform" if table.high > PURE_NOISE else chosen.automatic
    left_out = chosen.leaves_out_last_but_one or settings.leave_out_last_but_one
    levels = _levels(name, table, steps + left_out, settings.sdxl)
    if left_out:
        levels = [*levels[:-2], levels[-1]]
    ends = min(level for level in levels if level), max(levels)
    if taken is not None:
        levels = levels[-1 - taken :]
    noise = levels[0]
    if taken is None and settings.full_noise:
        noise = math.hypot(noise, 1)
    if taken is None and chosen.own_steps:
        levels = _levels("Exponential", table, steps, settings.sdxl)
    return Course(tuple(levels), noise, 1.0, 1.0, *ends)


def _levels(name: str, table: LevelTable, steps: int, sdxl: bool) -> list[float]:
    from webui.generation.sampling import noise_levels

    of: noise_levels.LevelsOf = getattr(noise_levels, SCHEDULE_TYPES[name])
    levels: list[float] = of(steps, noise_levels.Span(table, sdxl)).tolist()
    return levels


def _by_timesteps(chosen: Sampler, table: LevelTable, steps: int, taken: int | None) -> Course:
    """Lay out even timesteps for latents of variance 1.

    A picture that is drawn over has the noise of one timestep more than the walk begins with, as
    in AUTOMATIC1111.
    """
    from webui.generation.sampling.noise_levels import even_timesteps

    timesteps = even_timesteps(steps, table)
    kept = table.kept.tolist()
    begin = kept[0]
    if taken is not None:
        begin = kept[timesteps[min(max(taken - 1, 1), len(timesteps) - 1)]]
        timesteps = timesteps[: max(taken - 1, 2)]
    if chosen.between_timesteps:
        top = float(timesteps[-1] if taken is not None else table.last)
        count = len(timesteps)
        levels = [top * (count - step) / count for step in range(count + 1)]
        first, last = kept[int(top)], kept[0]
    else:
        levels = table.sigmas[timesteps[::-1]].tolist()
        first, last = kept[timesteps[-1]], kept[timesteps[0]]
    raised = 1 / math.sqrt(first)
    if taken is None:
        return Course(tuple(levels), raised, 0.0, math.sqrt(last), table.low, table.high)
    noise, picture = math.sqrt(1 - begin) * raised, math.sqrt(begin) * raised
    return Course(tuple(levels), noise, picture, math.sqrt(last), table.low, table.high)
