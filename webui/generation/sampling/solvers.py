"""Samplers that diffusers does not have as AUTOMATIC1111 does, in the interface of diffusers.

They are our own because diffusers' lack schedule types (Euler a), zero-SNR models (Heun), need
scipy or torchsde (LMS, DPM++ SDE), are other methods (DPM++ 2S a) or do not exist (the rest).
All of them work on latents ``x = picture + sigma · noise``, as Karras et al. 2022 ("Elucidating the
Design Space of Diffusion-Based Generative Models", arXiv 2206.00364) write them. The model's
prediction of the picture is called denoised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from webui.generation.sampling.noise_levels import Span, karras
from webui.libraries import EulerDiscreteScheduler, EulerDiscreteSchedulerOutput, randn_tensor

PURE_NOISE = 1000.0
"""Above this sigma nothing of the picture is left: the first level of a zero-SNR model."""


class Call(NamedTuple):
    """Latents of which the model is to predict the picture."""

    latents: Tensor
    """``[batch, 4, h, w]``."""
    sigma: float
    step: int
    """How many steps are done by then."""


Path = Generator[Call, Tensor, Tensor]
"""Asks for denoised latents, call by call, and returns the last latents."""
Noise = Callable[[], Tensor]
"""Draws noise for the batch, each picture's from its own generator."""


class Solver(EulerDiscreteScheduler):
    """A scheduler whose method is written down as one walk from noise to the picture.

    ``timesteps`` and ``sigmas`` are the levels of the steps, as with diffusers' Euler scheduler.
    How often the model is called in between is the walk's own affair: ``asked`` says what comes
    next, and ``step`` returns the latents for it.
    """

    one_by_one = False
    """Whether a batch is drawn picture by picture, because each one goes its own way."""
    needs_unguided = False
    """Whether ``step`` must be given the output without guidance, too."""
    cfg_unit = 1.0
    """The CFG scale that stands for a guidance of 1."""
    eta = 1.0
    """What the noise that is added in each step is multiplied by, where there is some."""

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Walk from ``x`` at the level ``levels[0]`` down to ``levels[-1]``, which is 0."""
        raise NotImplementedError

    def set_timesteps(  # type: ignore[override] # ours takes no timesteps or levels of others
        self, num_inference_steps: int, device: str | torch.device = "cpu"
    ) -> None:
        """Lay out the levels of a number of steps."""
        super().set_timesteps(num_inference_steps, device)
        alphas = self.alphas_cumprod.double().numpy()
        self._log_sigmas = np.log((1 - alphas) / alphas) / 2  # by timestep
        self._walk: Path | None = None
        self._call: Call | None = None
        self._unguided: Tensor | None = None

    @property
    def lowest(self) -> float:
        """The lowest sigma that the model was trained with."""
        return math.exp(self._log_sigmas[0])

    @property
    def asked(self) -> tuple[int, Tensor] | None:
        """The step, counted from 0, and the timestep of the next call; None at the end."""
        if self._walk is None:
            return 0, self.timesteps[self.begin_index or 0]
        if self._call is None:
            return None
        places = np.arange(len(self._log_sigmas))
        timestep = np.interp(math.log(self._call.sigma), self._log_sigmas, places)
        return self._call.step, torch.tensor(
            timestep, dtype=torch.float32, device=self.timesteps.device
        )

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor) -> Tensor:
        """Return the latents as the model knows them, with a variance of 1."""
        return sample / math.sqrt(self._sigma() ** 2 + 1)

    def step(  # type: ignore[override] # each of diffusers' schedulers takes others, too
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
        unguided: Tensor | None = None,
    ) -> EulerDiscreteSchedulerOutput | tuple[Tensor, Tensor]:
        """Answer the call with the model's output and return the latents of the next one."""
        sample, sigma = sample.float(), self._sigma()
        denoised = self._denoised(model_output, sample, sigma)
        if unguided is not None:
            self._unguided = self._denoised(unguided, sample, sigma)
        if self._walk is None:
            levels = self.sigmas[self.begin_index or 0 :].tolist()

            def noise() -> Tensor:
                shape = tuple(sample.shape)
                drawn: Tensor = randn_tensor(shape, generator=generator, device=sample.device)
                return drawn

            self._walk = self.path(sample, levels, noise)
            next(self._walk)
        try:
            self._call = self._walk.send(denoised)
            latents = self._call.latents
        except StopIteration as end:
            self._call, latents = None, end.value
        if not return_dict:
            return latents, denoised
        return EulerDiscreteSchedulerOutput(prev_sample=latents, pred_original_sample=denoised)

    def _sigma(self) -> float:
        if self._call is None:
            return float(self.sigmas[self.begin_index or 0])
        return self._call.sigma

    def _denoised(self, output: Tensor, x: Tensor, sigma: float) -> Tensor:
        output = output.float()
        kind = self.config["prediction_type"]
        if kind == "sample":
            return output
        if kind == "epsilon":
            return x - sigma * output
        return x / (sigma**2 + 1) - output * (sigma / math.sqrt(sigma**2 + 1))


class EulerAncestral(Solver):
    """Euler steps that go further down than the next level, and back up with new noise."""

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Take one call a step."""
        for step, (sigma, lower) in enumerate(pairwise(levels)):
            denoised = yield Call(x, sigma, step)
            down, up = ancestral(sigma, lower, self.eta)
            x = denoised + (x - denoised) * (down / sigma)
            if up:
                x = x + up * noise()
        return x


class Dpm2Ancestral(Solver):
    """DPM-Solver-2 (Lu et al. 2022, arXiv 2206.00927) to below the next level, and back up."""

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Take two calls a step, one the last."""
        for step, (sigma, lower) in enumerate(pairwise(levels)):
            denoised = yield Call(x, sigma, step)
            down, up = ancestral(sigma, lower, self.eta)
            if down == 0:
                return denoised
            middle = math.sqrt(sigma * down)
            halfway = torch.lerp(denoised, x, middle / sigma)
            denoised = yield Call(halfway, middle, step)
            x = x + (halfway - denoised) * ((down - sigma) / middle) + up * noise()
        return x


class LinearMultistep(Solver):
    """Adams and Bashforth's method of fourth order over uneven steps (Karras et al. 2022)."""

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Take one call a step."""
        past: list[tuple[float, Tensor]] = []
        for step, (sigma, lower) in enumerate(pairwise(levels)):
            denoised = yield Call(x, sigma, step)
            past = [(sigma, (x - denoised) / sigma), *past][:4]
            weights = _multistep_weights([level for level, _ in past], lower)
            for weight, (_, slope) in zip(weights, past, strict=True):
                x = x + weight * slope
        return x


class DpmSolver2sAncestral(Solver):
    """DPM-Solver++(2S), ancestral (Lu et al. 2022, arXiv 2211.01095, algorithm 1, r = 1/2)."""

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Take two calls a step, one the last."""
        for step, (sigma, lower) in enumerate(pairwise(levels)):
            denoised = yield Call(x, sigma, step)
            down, up = ancestral(sigma, lower, self.eta)
            if down:
                middle = math.sqrt(sigma * down)
                halfway = torch.lerp(denoised, x, middle / sigma)
                denoised = yield Call(halfway, middle, step)
            x = torch.lerp(denoised, x, down / sigma)
            if up:
                x = x + up * noise()
        return x


class DpmSolverSde(Solver):
    """DPM-Solver++(2S) for the stochastic equation (Lu et al. 2022, arXiv 2211.01095)."""

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Take two calls a step, one the last."""
        for step, (sigma, lower) in enumerate(pairwise(levels)):
            denoised = yield Call(x, sigma, step)
            if lower == 0:
                return denoised
            middle = math.sqrt(sigma * lower)
            down, up = ancestral(sigma, middle, self.eta)
            # one Brownian motion: the noise of the whole step begins with that of its first part
            first, second = noise(), noise()
            halfway = torch.lerp(denoised, x, down / sigma) + up * first
            denoised = yield Call(halfway, middle, step)
            down, up = ancestral(sigma, lower, self.eta)
            share = (sigma - middle) / (sigma - lower)
            whole = math.sqrt(share) * first + math.sqrt(1 - share) * second
            x = torch.lerp(denoised, x, down / sigma) + up * whole
        return x


class Heun(Solver):
    """Steps along the mean of the slopes at their ends (Karras et al. 2022, algorithm 1)."""

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Take two calls a step, one the last."""
        x, levels, done = yield from leave_pure_noise(x, levels)
        for step, (sigma, lower) in enumerate(pairwise(levels), start=done):
            x = yield from _heun(x, sigma, lower, step)
        return x


class Restart(Solver):
    """Heun's steps, with a part of the way gone again from noise that is added anew.

    Xu et al. 2023, "Restart Sampling for Improving Generative Processes", arXiv 2306.14878.
    """

    lower_bound, upper_bound = 0.1, 2.0
    """The part that is repeated, in sigmas, as the paper sets it for Stable Diffusion."""

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Take about two calls a step."""
        x, levels, step = yield from leave_pure_noise(x, levels)
        length, times = self.repeated(levels)
        levels = thinned(levels, len(levels) - 1 - length * times)
        low = min(level for level in levels if level >= self.lower_bound)
        for sigma, lower in pairwise(levels):
            x = yield from _heun(x, sigma, lower, step)
            step += 1
            if lower != low or lower >= self.upper_bound:
                continue
            for _ in range(times):
                x = x + noise() * math.sqrt(self.upper_bound**2 - low**2)
                span = Span(low, self.upper_bound)
                for above, below in pairwise(karras(length + 1, span).tolist()):
                    x = yield from _heun(x, above, below, step)
                    step += 1
        return x

    def repeated(self, levels: Sequence[float]) -> tuple[int, int]:
        """Return of how many steps the repeated part is, and how often it is repeated.

        The shares of the steps are AUTOMATIC1111's: fewer than 20 steps are all needed once.
        """
        steps = len(levels) - 1
        if steps < 20 or levels[0] <= self.upper_bound:
            return 0, 0
        return (9, 1) if steps < 36 else (steps // 4, 2)


class DdimCfgPlusPlus(Solver):
    """DDIM whose noise is the unguided one (Chung et al. 2024, "CFG++", arXiv 2406.08070)."""

    needs_unguided = True
    cfg_unit = 12.5

    def path(self, x: Tensor, levels: Sequence[float], noise: Noise) -> Path:
        """Take one call a step."""
        for step, (sigma, lower) in enumerate(pairwise(levels)):
            denoised = yield Call(x, sigma, step)
            assert self._unguided is not None, "step was not given the output without guidance"
            down, up = ancestral(sigma, lower, self.eta)
            x = denoised + (x - self._unguided) * (down / sigma)
            if up:
                x = x + up * noise()
        return x


def ancestral(sigma: float, lower: float, eta: float) -> tuple[float, float]:
    """Return the level to go down to, and the noise to add then to be at ``lower``.

    With an ``eta`` of 1 the noise is that of DDPM's ancestral sampling (Ho et al. 2020, arXiv
    2006.11239), with 0 there is none, as in DDIM (Song et al. 2020, arXiv 2010.02502).
    """
    share = eta**2 * (1 - (lower / sigma) ** 2)
    return lower * math.sqrt(1 - share), lower * math.sqrt(share)


def leave_pure_noise(
    x: Tensor, levels: Sequence[float]
) -> Generator[Call, Tensor, tuple[Tensor, Sequence[float], int]]:
    """Take the first step of a zero-SNR model; returns latents, levels left and steps done.

    Methods that compare the noise at both ends of a step cannot take it: what the picture differs
    by between a sigma of thousands and the next level would be blown up by that ratio.
    """
    if levels[0] < PURE_NOISE or levels[1] == 0:
        return x, levels, 0
    denoised = yield Call(x, levels[0], 0)
    return torch.lerp(denoised, x, levels[1] / levels[0]), levels[1:], 1


def thinned(levels: Sequence[float], steps: int) -> list[float]:
    """Return the levels of fewer steps in the same course, with the 0 at their end."""
    positive = np.log(levels[:-1])
    places = np.linspace(0, len(positive) - 1, steps)
    return [*np.exp(np.interp(places, np.arange(len(positive)), positive)).tolist(), 0.0]


def _heun(x: Tensor, sigma: float, lower: float, step: int) -> Path:
    """Go from ``sigma`` to ``lower`` along the mean of the slopes at both ends."""
    denoised = yield Call(x, sigma, step)
    slope = (x - denoised) / sigma
    ahead = x + slope * (lower - sigma)
    if lower == 0:
        return ahead
    denoised = yield Call(ahead, lower, step)
    return x + (slope + (ahead - denoised) / lower) * ((lower - sigma) / 2)


def _multistep_weights(sigmas: Sequence[float], lower: float) -> list[float]:
    """Return what each slope counts on the way from ``sigmas[0]`` to ``lower``.

    The polynomial through the slopes at all ``sigmas`` (4 at most) is integrated by Gauss's two
    nodes, which is exact for it.
    """
    middle, half = (lower + sigmas[0]) / 2, (lower - sigmas[0]) / 2
    nodes = [middle - half / math.sqrt(3), middle + half / math.sqrt(3)]
    weights = []
    for own in sigmas:
        others = [other for other in sigmas if other != own]
        weights.append(half * sum(math.prod((at - o) / (own - o) for o in others) for at in nodes))
    return weights
