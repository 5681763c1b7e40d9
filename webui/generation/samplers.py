"""Samplers and noise schedules under AUTOMATIC1111's names, made of diffusers' schedulers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from webui.errors import AppError

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


@dataclass(frozen=True)
class Sampler:
    """How a sampler is made of a diffusers scheduler."""

    scheduler: str
    """Class name in diffusers."""
    options: Mapping[str, Any] = field(default_factory=dict)
    automatic: str = "Uniform"
    """The schedule type that "Automatic" stands for."""


SAMPLERS: Mapping[str, Sampler] = {
    "DPM++ 2M": Sampler(
        "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}, automatic="Karras"
    ),
    "DPM++ 2M SDE": Sampler(
        "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "Exponential"
    ),
    "DPM++ SDE": Sampler(
        "DPMSolverSinglestepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "lower_order_final": True},
        "Karras",
    ),
    "DPM++ 2M SDE Heun": Sampler(
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
        "Exponential",
    ),
    "DPM++ 3M SDE": Sampler(
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 3},
        "Exponential",
    ),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler"),
    "Euler": Sampler("EulerDiscreteScheduler"),
    "Heun": Sampler("HeunDiscreteScheduler"),
    "DPM2": Sampler("KDPM2DiscreteScheduler", automatic="Karras"),
    "DPM2 a": Sampler("KDPM2AncestralDiscreteScheduler", automatic="Karras"),
    "DDIM": Sampler("DDIMScheduler"),
    "PLMS": Sampler("PNDMScheduler", {"skip_prk_steps": True}),
    "UniPC": Sampler("UniPCMultistepScheduler"),
    "LCM": Sampler("LCMScheduler"),
}
"""Every sampler of the page and the API, the default first."""

SCHEDULE_TYPES: Mapping[str, Mapping[str, Any]] = {
    "Automatic": {},
    "Uniform": {},
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
    "SGM Uniform": {"timestep_spacing": "trailing"},
}
"""How each schedule type changes a scheduler."""

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

    Names of old versions have the schedule type at their end. Case is ignored; a name that is
    not known comes back as it is, with "Automatic".
    """
    names = {known.casefold(): known for known in SAMPLERS}
    wanted = " ".join(name.split()).casefold()
    if wanted in names:
        return names[wanted], "Automatic"
    for schedule in SCHEDULE_TYPES:
        plain = wanted.removesuffix(f" {schedule.casefold()}")
        if plain != wanted and plain in names:
            return names[plain], schedule
    return name, "Automatic"


def make_scheduler(sampler: str, schedule_type: str, config: Mapping[str, Any]) -> SchedulerMixin:
    """Build the scheduler for a sampler and a checkpoint's ``scheduler_config``.

    A model trained with zero terminal SNR has no finite largest sigma, so "Automatic" keeps to
    evenly spaced timesteps there. Raises AppError if the sampler cannot take the schedule type.
    """
    import diffusers

    chosen = SAMPLERS[sampler]
    kind = getattr(diffusers, chosen.scheduler)
    takes = inspect.signature(kind.__init__).parameters
    zero_snr = bool(config.get("rescale_betas_zero_snr"))
    options = {key: config[key] for key in TAKEN_FROM_MODEL if key in config and key in takes}
    options |= chosen.options
    name = schedule_type
    if name == "Automatic":
        name = "Uniform" if zero_snr else chosen.automatic
    for key, value in SCHEDULE_TYPES[name].items():
        if key not in takes:
            raise AppError(f"The sampler {sampler} has no schedule type {name}; choose Automatic.")
        options[key] = value
    if zero_snr and "rescale_betas_zero_snr" not in takes:
        options["trained_betas"] = _zero_snr_betas(config)
    if "clip_sample" in takes:
        options["clip_sample"] = False
    return kind(**options)


def _zero_snr_betas(config: Mapping[str, Any]) -> list[float]:
    """Return rescaled betas for schedulers that cannot rescale them themselves.

    The last cumulative alpha is 2**-24 in place of zero, so that sigmas stay finite
    (Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", with the
    guard that diffusers' Euler scheduler uses).
    """
    import torch
    from diffusers import EulerDiscreteScheduler

    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    rescaled = EulerDiscreteScheduler(
        **{key: config[key] for key in keys if key in config}, rescale_betas_zero_snr=True
    )
    kept = rescaled.alphas_cumprod.double()
    kept[-1] = 2.0**-24
    ratios = torch.cat([kept[:1], kept[1:] / kept[:-1]])
    return (1 - ratios).tolist()
