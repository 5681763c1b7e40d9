"""DPM-Solver++ of several steps for the stochastic equation, with the third order put right.

diffusers' third order subtracts half of the second difference where its expansion adds it.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor


class MultistepSde(DPMSolverMultistepScheduler):
    """DPM++ 2M SDE and its relatives (Lu et al. 2022, arXiv 2211.01095, appendix A)."""

    def multistep_dpm_solver_third_order_update(
        self,
        model_output_list: list[Tensor],
        *args: Any,
        sample: Any = None,
        noise: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return the latents of the next level from the last three predictions of the picture."""
        levels = [self.sigmas[self.step_index + 1 - back] for back in range(4)]
        alphas, sigmas = zip(*map(self._sigma_to_alpha_sigma_t, levels), strict=True)
        logs = [torch.log(alpha / sigma) for alpha, sigma in zip(alphas, sigmas, strict=True)]
        h, before, earlier = (logs[back] - logs[back + 1] for back in range(3))
        newest, older, oldest = reversed(model_output_list[-3:])
        slope, last_slope = (newest - older) * (h / before), (older - oldest) * (h / earlier)
        bend = (slope - last_slope) * (h / (before + earlier))
        slope = slope + bend * (before / h)
        decay = -torch.expm1(-2 * h)
        second = 1 - decay / (2 * h)
        third = second / (2 * h) - 0.5
        kept = sigmas[0] / sigmas[1] * torch.exp(-h) * sample
        moved = alphas[0] * (decay * newest + second * slope - third * bend)
        latents: Tensor = kept + moved + sigmas[0] * torch.sqrt(decay) * noise
        return latents
