"""DPM2 as diffusers has it, made in a tenth of the time.

Its scheduler looks up two thousand timesteps one by one when it is made.
"""

from __future__ import annotations

import math

import numpy as np

from webui.libraries import KDPM2DiscreteScheduler


def _timestep_of(_: object, sigma: np.ndarray, log_sigmas: np.ndarray) -> np.ndarray:
    """Return the timestep of ``sigma``, a fraction between those of the levels around it."""
    levels = np.asarray(log_sigmas)
    place = np.interp(math.log(max(float(sigma), 1e-10)), levels, np.arange(len(levels)))
    return np.asarray(place)


class Dpm2(KDPM2DiscreteScheduler):
    """DPM2."""

    _sigma_to_t = _timestep_of
