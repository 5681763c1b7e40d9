"""DPM-Solver++ of several steps for the stochastic equation, with a noise multiplier.

diffusers has none, and its third order subtracts half of the second difference where the expansion
adds it. Otherwise an eta of 1 gives what diffusers computes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from webui.libraries import DPMSolverMultistepScheduler


class MultistepSde(DPMSolverMultistepScheduler):
    """DPM++ 2M SDE and its relatives (Lu et al. 2022, arXiv 2211.01095, appendix A).

    ``eta`` multiplies the noise as in ancestral sampling: 0 solves the equation without any.
    """

    eta = 1.0

    def dpm_solver_first_order_update(
        self, model_output: Tensor, *args: Any, sample: Any = None, noise: Any = None, **kwargs: Any
    ) -> Tensor:
        """Return the latents of the next level from one prediction of the picture."""
        return self._update([model_output], sample, noise)

    def multistep_dpm_solver_second_order_update(
        self,
        model_output_list: list[Tensor],
        *args: Any,
        sample: Any = None,
        noise: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return the latents of the next level from the last two predictions of the picture."""
        return self._update(model_output_list[-2:], sample, noise)

    def multistep_dpm_solver_third_order_update(
        self,
        model_output_list: list[Tensor],
        *args: Any,
        sample: Any = None,
        noise: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return the latents of the next level from the last three predictions of the picture."""
        return self._update(model_output_list[-3:], sample, noise)

    def _update(self, outputs: list[Tensor], sample: Tensor, noise: Tensor) -> Tensor:
        """Return the latents of the next level; ``outputs`` has the newest prediction last."""
        levels = [self.sigmas[self.step_index + 1 - back] for back in range(len(outputs) + 1)]
        alphas, sigmas = zip(*map(self._sigma_to_alpha_sigma_t, levels), strict=True)
        newest = outputs[-1]
        if sigmas[0] == 0:
            return newest
        logs = [torch.log(alpha / sigma) for alpha, sigma in zip(alphas, sigmas, strict=True)]
        steps = [nearer - farther for nearer, farther in zip(logs, logs[1:], strict=False)]
        h = steps[0]
        length = (1 + self.eta) * h
        decay = -torch.expm1(-length)
        second = 1 - decay / length
        moved = decay * newest
        if len(outputs) > 1:
            slope = (newest - outputs[-2]) * (h / steps[1])
        if len(outputs) == 2:
            moved = moved + slope * (second if self.config["solver_type"] == "heun" else decay / 2)
        if len(outputs) == 3:
            before = (outputs[-2] - outputs[-3]) * (h / steps[2])
            bend = (slope - before) * (h / (steps[1] + steps[2]))
            slope = slope + bend * (steps[1] / h)
            moved = moved + second * slope - (second / length - 0.5) * bend
        kept = sigmas[0] / sigmas[1] * torch.exp(-self.eta * h) * sample
        added = sigmas[0] * torch.sqrt(-torch.expm1(-2 * self.eta * h)) * noise
        latents: Tensor = kept + alphas[0] * moved + added
        return latents
