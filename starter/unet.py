"""Stage three: the denoiser, trained on latents of drawn pictures and on their captions."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel

from starter.emphasis import WeightLessons
from starter.optimizers import optimizers_for
from starter.stages import Budget, Stage, run_stage
from starter.text import WIDTH

BATCH_SIZE = 24
"""Pictures in a step, where two processor cores compute it."""
_ONE_IN_WEIGHTED = 6
"""Pictures of a batch for each that teaches what a prompt weight means."""
_DROPPED = 0.1
"""Share of empty captions, for guidance."""
_WORDS_ONLY = 0.6
"""Share that may not look past the last word, so that each word keeps its say."""
_TEXT_RATE = 0.1
"""The text encoder's learning rate, as a share of the denoiser's."""
_SHORT = 40
"""Tokens that three steps of four look at: all captions fit, and it is faster."""
CAPTIONS_EACH = 4


@dataclass(frozen=True)
class Lessons:
    """What the denoiser learns from."""

    moments: Tensor
    """Means and standard deviations of latents, float16 [n, 8, 32, 32]."""
    ids: Tensor
    """Captions as token ids, int32 [n, CAPTIONS_EACH, 77]."""
    empty: Tensor
    """The empty prompt, int32 [77]."""
    scale: float
    """Latents times this have unit variance."""
    weights: WeightLessons


def build_unet() -> UNet2DConditionModel:
    """Return an untrained denoiser; it attends to words where the latents are at most 8×8."""
    return UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(48, 96, 160, 160),
        time_embedding_dim=384,
        down_block_types=("DownBlock2D",) * 2 + ("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",) * 2,
        mid_block_type=None,
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )


def build_scheduler() -> DDIMScheduler:
    """Return Stable Diffusion's noise schedule, ending in pure noise, for velocity prediction."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def random_timesteps(rng: np.random.Generator, count: int) -> Tensor:
    """Return timesteps int64 ``[count]``: most where shapes are decided, some from everywhere."""
    around = rng.normal(520, 190, count)
    anywhere = rng.uniform(0, 1000, count)
    chosen = np.where((rng.random(count) < 0.3) | (around < 0) | (around >= 1000), anywhere, around)
    return torch.from_numpy(chosen.astype(np.int64))


def words_mask(ids: Tensor, rng: np.random.Generator) -> Tensor:
    """Return what may be attended to, bool ``[n, 77]``; for some captions nothing after the last
    word."""
    ends = (ids == ids.max()).int().argmax(dim=1, keepdim=True)  # the end token has the highest id
    before_end = torch.arange(ids.shape[1])[None] < ends
    strict = torch.from_numpy(rng.random(len(ids)) < _WORDS_ONLY)[:, None]
    return before_end | ~strict


def velocity_loss(
    denoise: Callable[..., Tensor], latents: Tensor, noise: Tensor, timesteps: Tensor,
    alphas: Tensor,
) -> Tensor:  # fmt: skip
    """Return the mean squared error of the predicted velocity, all timesteps weighing the same.

    ``denoise(noisy, timesteps)``, latents and noise [n, 4, 32, 32]; ``alphas`` is the scheduler's
    cumulative product. Velocity as in Salimans and Ho, 2022.
    """
    alpha = alphas[timesteps].view(-1, 1, 1, 1)
    signal, spread = alpha.sqrt(), (1 - alpha).sqrt()
    predicted = denoise(signal * latents + spread * noise, timesteps)
    return functional.mse_loss(predicted.float(), signal * noise - spread * latents)


def train_unet(
    unet: UNet2DConditionModel, encoder: CLIPTextModel, lessons: Lessons, budget: Budget,
    folder: Path, seed: int = 0, peak_lr: float = 1.5e-3, device: str = "cpu",
    name: str = "unet", frozen: Set[str] = frozenset(), batch_size: int = BATCH_SIZE,
) -> None:  # fmt: skip
    """Train the denoiser and, more slowly, the text encoder in place.

    ``name`` is the stage's; the denoiser's parameters in ``frozen`` stay as they are.
    """
    for parameter_name, parameter in unet.named_parameters():
        parameter.requires_grad_(parameter_name not in frozen)
    both = nn.ModuleDict({"unet": unet, "encoder": encoder}).to(device).train()
    alphas = build_scheduler().alphas_cumprod.to(device)
    optimizers = optimizers_for(unet, peak_lr) + optimizers_for(encoder, peak_lr * _TEXT_RATE)
    lessons_from = batch_size - batch_size // _ONE_IN_WEIGHTED

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((seed, 30, step))
        torch.manual_seed(seed * 1_000_003 + step)
        rows = torch.from_numpy(rng.integers(len(lessons.moments), size=batch_size))
        which = torch.from_numpy(rng.integers(CAPTIONS_EACH, size=batch_size))
        weighted, weights = lessons.weights.draw(rng, batch_size // _ONE_IN_WEIGHTED)
        rows[lessons_from:] = lessons.weights.rows[weighted]
        mean, std = lessons.moments[rows].float().chunk(2, dim=1)
        dull = lessons.weights.dull[weighted].float()
        mean[lessons_from:] = dull.lerp(mean[lessons_from:], weights.view(-1, 1, 1, 1))
        latents = (mean + std * torch.randn_like(mean)).to(device) * lessons.scale
        ids = lessons.ids[rows, which].long()  # [n, 77]
        ids[lessons_from:] = lessons.weights.ids[weighted].long()
        factors = torch.ones(ids.shape)
        factors[lessons_from:] += lessons.weights.named[weighted] * (weights[:, None] - 1)
        ids[torch.from_numpy(rng.random(batch_size) < _DROPPED)] = lessons.empty.long()
        ids = ids[:, :_SHORT] if step % 4 else ids
        mask = words_mask(ids, rng).to(device)
        factors = factors[:, : ids.shape[1], None].to(device)
        timesteps = random_timesteps(rng, batch_size).to(device)

        def denoise(noisy: Tensor, at: Tensor) -> Tensor:
            with torch.autocast(device, torch.bfloat16):
                states = encoder(input_ids=ids.to(device)).last_hidden_state
                return unet(noisy, at, states * factors, encoder_attention_mask=mask).sample

        return velocity_loss(denoise, latents, torch.randn_like(latents), timesteps, alphas)

    run_stage(Stage(name, both, optimizers, budget, folder), loss_at)
