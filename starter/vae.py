"""Stage one: the autoencoder between pictures of 256×256×3 and latents of 32×32×4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from starter.optimizers import optimizers_for
from starter.stages import Budget, Stage, run_stage
from starter.world import SIDE

_KL_WEIGHT = 3e-5
_NOISE = 0.06
"""Of the latents' spread, added in training: the denoiser will err, too."""
_BATCH = 8
_AREA_PX = 4
_CROP_PX, _LATENT_PX = 128, 8
"""The autoencoder trains on parts of pictures: what it learns there holds for the whole."""
_WHOLE_BATCH = 4
"""Whole pictures a step while the decoder is polished."""
_ENCODED = 4
"""Pictures at a time: more do not fit the processor's caches, and take twice as long each."""


def build_vae() -> AutoencoderKL:
    """Return an untrained autoencoder: few channels where pictures are large, none of it
    attention."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIDE,
        mid_block_add_attention=False,
    )


def to_tensor(pictures: np.ndarray, device: str = "cpu") -> Tensor:
    """Return pictures uint8 ``[n, 256, 256, 3]`` as float32 ``[n, 3, 256, 256]`` in -1..1."""
    tensor = torch.from_numpy(np.array(pictures)).to(device)
    return tensor.permute(0, 3, 1, 2).float() / 127.5 - 1


def _cropped(batch: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a part of each of a batch ``[n, 3, 256, 256]``, beginning at a whole latent."""
    places = (SIDE - _CROP_PX) // _LATENT_PX + 1
    corners = rng.integers(places, size=(len(batch), 2)) * _LATENT_PX
    cut = (
        one[:, y : y + _CROP_PX, x : x + _CROP_PX]
        for one, (y, x) in zip(batch, corners.tolist(), strict=True)
    )
    return torch.stack(list(cut))


def _slopes(pictures: Tensor) -> tuple[Tensor, Tensor]:
    return pictures.diff(dim=2), pictures.diff(dim=3)


def reconstruction_loss(drawn: Tensor, rebuilt: Tensor) -> Tensor:
    """Return the distance of two batches ``[n, 3, h, w]``: absolute, squared, of slopes and of
    areas.

    Areas are the means of small blocks: where details are lost, their colour should not be.
    """
    error = rebuilt - drawn
    slopes = sum(slope.abs().mean() for slope in _slopes(error))
    areas = functional.avg_pool2d(error, _AREA_PX).abs().mean()
    return error.abs().mean() + 2.0 * error.square().mean() + 0.5 * slopes + 0.5 * areas


def train_vae(
    vae: AutoencoderKL, pictures: np.ndarray, budget: Budget, folder: Path,
    seed: int = 0, peak_lr: float = 2e-3, device: str = "cpu",
) -> None:  # fmt: skip
    """Train ``vae`` in place on pictures uint8 ``[n, 256, 256, 3]`` and leave its averaged
    weights."""
    vae.to(device).train()

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((seed, 10, step))
        rows = np.sort(rng.integers(len(pictures), size=_BATCH))
        torch.manual_seed(seed * 1_000_003 + step)
        drawn = _cropped(to_tensor(pictures[rows], device), rng)
        if step % 2:
            drawn = drawn.flip(3)
        with torch.autocast(device, torch.bfloat16):
            posterior = vae.encode(drawn).latent_dist
            latents = posterior.sample()
            latents = latents + _NOISE * latents.detach().std() * torch.randn_like(latents)
            rebuilt = vae.decode(latents).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return reconstruction_loss(drawn, rebuilt.float()) + _KL_WEIGHT * kl

    stage = Stage("vae", vae, optimizers_for(vae, peak_lr), budget, folder)
    run_stage(stage, loss_at)


def polish_decoder(
    vae: AutoencoderKL, pictures: np.ndarray, moments: Tensor, budget: Budget, folder: Path,
    seed: int = 0, peak_lr: float = 1e-3, device: str = "cpu",
) -> None:  # fmt: skip
    """Train the decoder alone, in place, on latents that stay as they are.

    ``moments`` are those of ``pictures`` as ``encode_all`` gives them, so the denoiser may
    have learned from them already. Pictures are whole here: a part of a whole one's latents is
    not what the encoder makes of that part, whose group norms know nothing of the rest, and the
    decoder is 11 dB worse on it.
    """
    vae.to(device).train()
    decoder = nn.ModuleDict({"post_quant_conv": vae.post_quant_conv, "decoder": vae.decoder})
    spread = moments[:2000, :4].float().std().item()

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((seed, 11, step))
        rows = np.sort(rng.integers(len(moments), size=_WHOLE_BATCH))
        torch.manual_seed(seed * 1_000_003 + step)
        mean, std = moments[torch.from_numpy(rows)].float().to(device).chunk(2, dim=1)
        drawn = to_tensor(pictures[rows], device)
        latents = mean + (std + _NOISE * spread) * torch.randn_like(mean)
        with torch.autocast(device, torch.bfloat16):
            rebuilt = vae.decode(latents).sample
        return reconstruction_loss(drawn, rebuilt.float())

    run_stage(Stage("decoder", decoder, optimizers_for(decoder, peak_lr), budget, folder), loss_at)


@torch.no_grad()
def encode_all(vae: AutoencoderKL, pictures: np.ndarray, device: str = "cpu") -> Tensor:
    """Return means and standard deviations of all latents, float16 ``[n, 8, 32, 32]``."""
    vae.to(device).eval()
    parts = []
    for start in range(0, len(pictures), _ENCODED):
        with torch.autocast(device, torch.bfloat16):
            moments = vae.encode(to_tensor(pictures[start : start + _ENCODED], device)).latent_dist
        parts.append(torch.cat([moments.mean, moments.std], dim=1).half().cpu())
    return torch.cat(parts)


@torch.no_grad()
def rebuild(vae: AutoencoderKL, pictures: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Return the pictures as they come out of the autoencoder, uint8 ``[n, 256, 256, 3]``."""
    vae.to(device).eval()
    parts = []
    for start in range(0, len(pictures), _ENCODED):
        with torch.autocast(device, torch.bfloat16):
            latents = vae.encode(
                to_tensor(pictures[start : start + _ENCODED], device)
            ).latent_dist.mean
            rebuilt = vae.decode(latents).sample.clamp(-1, 1)
        parts.append(((rebuilt.float() + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu())
    return torch.cat(parts).numpy()


@torch.no_grad()
def psnr_db(vae: nn.Module, pictures: np.ndarray, device: str = "cpu") -> float:
    """Return the mean over pictures of the signal-to-noise ratio after a round trip, in dB."""
    values = []
    for start in range(0, len(pictures), _ENCODED):
        drawn = to_tensor(pictures[start : start + _ENCODED], device)
        rebuilt = vae.decode(vae.encode(drawn).latent_dist.mean).sample.clamp(-1, 1)
        error = functional.mse_loss(rebuilt, drawn, reduction="none").mean((1, 2, 3))
        values.append(10 * torch.log10(4 / error))
    return torch.cat(values).mean().item()
