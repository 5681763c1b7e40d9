"""Samplers and noise schedules under AUTOMATIC1111's names, made of schedulers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from webui.errors import AppError
from webui.generation.sampling import noise_levels
from webui.generation.sampling.noise_levels import Span

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Scheduler(Protocol):
    """What the sampling loop asks of a scheduler, diffusers' or our own."""

    order: int
    """UNet calls of a step."""
    timesteps: Tensor
    """``[calls]``, the highest first."""
    eta: float
    """What added noise is multiplied by; only there where the sampler has one."""

    @property
    def init_noise_sigma(self) -> float | Tensor:
        """Strength of the noise that a picture is begun with."""

    def set_timesteps(self, num_inference_steps: int, device: torch.device) -> None:
        """Lay out the timesteps of so many steps."""

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """Return latents ``[batch, 4, h, w]`` as the UNet takes them."""

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return latents with the noise of the timesteps ``[batch]``."""

    def step(
        self, model_output: Tensor, timestep: Tensor, sample: Tensor, *, return_dict: bool = True
    ) -> Any:
        """Return the latents of the next call, first of a tuple without ``return_dict``."""


@dataclass(frozen=True)
class Sampler:
    """How a sampler is made of a scheduler."""

    scheduler: str
    """Class name in ``module``."""
    aliases: tuple[str, ...] = ()
    """AUTOMATIC1111's other names, which clients of its API use."""
    automatic: str = "Uniform"
    """The schedule type that "Automatic" stands for."""
    options: Mapping[str, Any] = field(default_factory=dict)
    module: str = "diffusers"
    eta: float | None = None
    """What the noise added in each step is multiplied by, unless a request says otherwise; None if
    the sampler has no such noise."""


@dataclass(frozen=True)
class ScheduleType:
    """How a schedule type changes a scheduler."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Which timesteps are taken, as diffusers calls it."""
    levels: Callable[[int, Span], np.ndarray] | None = None
    """Or else the noise levels of the steps."""


OWN = "webui.generation.sampling.solvers"
OWN_DPM = "webui.generation.sampling.dpm_solver"
OWN_DPM2 = "webui.generation.sampling.dpm2"
OWN_SDE = "webui.generation.sampling.multistep_sde"
MULTISTEP = "DPMSolverMultistepScheduler"
SDE = {"algorithm_type": "sde-dpmsolver++"}

SAMPLERS: Mapping[str, Sampler] = {
    "DPM++ 2M": Sampler(MULTISTEP, ("k_dpmpp_2m",), "Karras", {"algorithm_type": "dpmsolver++"}),
    "DPM++ SDE": Sampler("DpmSolverSde", ("k_dpmpp_sde",), "Karras", module=OWN, eta=1),
    "DPM++ 2M SDE": Sampler("MultistepSde", ("k_dpmpp_2m_sde",), "Exponential", SDE, OWN_SDE, 1),
    "DPM++ 2M SDE Heun": Sampler(
        "MultistepSde",
        ("k_dpmpp_2m_sde_heun",),
        "Exponential",
        SDE | {"solver_type": "heun"},
        OWN_SDE,
        1,
    ),
    "DPM++ 2S a": Sampler("DpmSolver2sAncestral", ("k_dpmpp_2s_a",), "Karras", module=OWN, eta=1),
    "DPM++ 3M SDE": Sampler(
        "MultistepSde",
        ("k_dpmpp_3m_sde",),
        "Exponential",
        SDE | {"solver_order": 3},
        OWN_SDE,
        1,
    ),
    "Euler a": Sampler("EulerAncestral", ("k_euler_a", "k_euler_ancestral"), module=OWN, eta=1),
    "Euler": Sampler("EulerDiscreteScheduler", ("k_euler",)),
    "LMS": Sampler("LinearMultistep", ("k_lms",), module=OWN),
    "Heun": Sampler("Heun", ("k_heun",), module=OWN),
    "DPM2": Sampler("Dpm2", ("k_dpm_2",), "Karras", module=OWN_DPM2),
    "DPM2 a": Sampler("Dpm2Ancestral", ("k_dpm_2_a",), "Karras", module=OWN, eta=1),
    "DPM fast": Sampler("DpmFast", ("k_dpm_fast",), module=OWN_DPM),
    "DPM adaptive": Sampler("DpmAdaptive", ("k_dpm_ad",), module=OWN_DPM),
    "Restart": Sampler("Restart", ("restart",), "Karras", module=OWN),
    "DDIM": Sampler("DDIMScheduler", ("ddim",), eta=0),
    "DDIM CFG++": Sampler("DdimCfgPlusPlus", ("ddim_cfgpp",), module=OWN, eta=0),
    "PLMS": Sampler("PNDMScheduler", ("plms",), options={"skip_prk_steps": True}),
    "UniPC": Sampler("UniPCMultistepScheduler", ("unipc",)),
    "LCM": Sampler("LCMScheduler", ("k_lcm",)),
}
"""Every sampler of the page and the API, the default first."""

SCHEDULE_TYPES: Mapping[str, ScheduleType] = {
    "Automatic": ScheduleType(),
    "Uniform": ScheduleType(),
    "Karras": ScheduleType(levels=noise_levels.karras),
    "Exponential": ScheduleType(levels=noise_levels.exponential),
    "Polyexponential": ScheduleType(levels=noise_levels.exponential),
    "SGM Uniform": ScheduleType({"timestep_spacing": "trailing"}),
    "KL Optimal": ScheduleType(levels=noise_levels.kl_optimal),
    "Align Your Steps": ScheduleType(levels=noise_levels.align_your_steps),
    "Simple": ScheduleType({"timestep_spacing": "trailing"}),
    "Normal": ScheduleType({"timestep_spacing": "linspace"}),
    "DDIM": ScheduleType({"timestep_spacing": "leading", "steps_offset": 1}),
    "Beta": ScheduleType(levels=noise_levels.beta),
}
"""Every schedule type. Polyexponential has AUTOMATIC1111's usual exponent, which is 1."""

USUAL_HIGHEST = 14.6146
"""The highest sigma of Stable Diffusion's noise schedule."""
TAKEN_FROM_MODEL = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "rescale_betas_zero_snr",
    "steps_offset",
)
"""What of a checkpoint's scheduler configuration goes for every sampler."""


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


def eta_warnings(sampler: str, eta: float | None) -> tuple[str, ...]:
    """Say that an eta has no effect, where it has none."""
    if eta is None or SAMPLERS[sampler].eta is not None:
        return ()
    return (f"Eta has no effect with the sampler {sampler}.",)


def make_scheduler(
    sampler: str,
    schedule_type: str,
    config: Mapping[str, Any],
    family: str = "sd1",
    eta: float | None = None,
) -> Scheduler:
    """Build the scheduler for a sampler and a checkpoint's ``scheduler_config``.

    A model trained with zero terminal SNR has no finite largest sigma, so "Automatic" keeps to
    evenly spaced timesteps there. ``eta`` goes to samplers that have one, which see to it as
    ``scheduler.eta``. Raises AppError if the sampler cannot take the schedule type.
    """
    chosen = SAMPLERS[sampler]
    kind = getattr(import_module(chosen.module), chosen.scheduler)
    takes = inspect.signature(kind.__init__).parameters
    zero_snr = bool(config.get("rescale_betas_zero_snr"))
    options = {key: config[key] for key in TAKEN_FROM_MODEL if key in config and key in takes}
    options |= chosen.options
    name = schedule_type
    if name == "Automatic":
        name = "Uniform" if zero_snr else chosen.automatic
    schedule = SCHEDULE_TYPES[name]
    asked = {"use_karras_sigmas": True} if schedule.levels else schedule.options
    if not takes.keys() >= asked.keys():
        raise AppError(f"The sampler {sampler} has no schedule type {name}; choose Automatic.")
    options |= asked
    if schedule.levels and "timestep_spacing" in takes:
        options["timestep_spacing"] = "linspace"  # the noise to begin with is the highest level's
    if zero_snr and "rescale_betas_zero_snr" not in takes:
        options["trained_betas"] = _zero_snr_betas(config)
    if "clip_sample" in takes:
        options["clip_sample"] = False
    scheduler: Scheduler = kind(**options)
    if chosen.eta is not None:
        scheduler.eta = chosen.eta if eta is None else eta
    if schedule.levels:
        _set_levels(scheduler, schedule.levels, family == "sdxl")
    return scheduler


def _set_levels(scheduler: Any, levels: Callable[[int, Span], np.ndarray], sdxl: bool) -> None:
    """Let a scheduler that can have Karras' noise levels take others in their place.

    They begin with the model's highest one. Where that is pure noise, the others are those of an
    ordinary model: few would be left for the picture if they were spread over thousands.
    """
    alphas = scheduler.alphas_cumprod[[0, -1]].double().numpy()
    low, high = np.sqrt((1 - alphas) / alphas).tolist()
    span = Span(low, min(high, USUAL_HIGHEST), sdxl)
    above = [high] if high > 2 * USUAL_HIGHEST else []

    def convert(in_sigmas: object, num_inference_steps: int | None = None) -> np.ndarray:
        count = num_inference_steps or scheduler.num_inference_steps
        return np.concatenate([above, levels(count - len(above), span)])

    scheduler._convert_to_karras = convert  # the one place where diffusers lets them in


def _zero_snr_betas(config: Mapping[str, Any]) -> list[float]:
    """Return rescaled betas for schedulers that cannot rescale them themselves.

    The last cumulative alpha is 2**-24 in place of zero, so that sigmas stay finite
    (Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", with the
    guard that diffusers' Euler scheduler uses).
    """
    import torch

    from webui.libraries import EulerDiscreteScheduler

    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    rescaled = EulerDiscreteScheduler(
        **{key: config[key] for key in keys if key in config}, rescale_betas_zero_snr=True
    )
    kept = rescaled.alphas_cumprod.double()
    kept[-1] = 2.0**-24
    ratios = torch.cat([kept[:1], kept[1:] / kept[:-1]])
    return cast("list[float]", (1 - ratios).tolist())
