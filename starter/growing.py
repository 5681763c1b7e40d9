"""A denoiser for pictures twice as wide begins with the layers of a smaller one."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from starter.unet import build_scheduler

_RIDGE = 0.1
_GAIN = 1.4
"""Pooled latents have less noise, so the smaller model would have seen them stronger."""
_FAINT = 0.1
"""What new layers add at first, as a share of what they would."""
_SHIFTS = 9
_ON_THE_OUTSIDE = ("conv_in", "conv_out", "time_embedding.linear_1")
_POOLED = {-1: ((-1, -1, 0.5), (0, -1, 0.5)), 0: ((0, 0, 0.5), (0, 1, 0.5)), 1: ((1, 1, 1.0),)}
"""By the place of a pooled cell: shift of the latents, tap of the downsampler, weight."""


def inner_name(name: str) -> str:
    """Return what a layer of the smaller denoiser is called inside the larger one."""
    parts = name.split(".")
    if parts[0] == "down_blocks":
        parts[1] = str(int(parts[1]) + 1)
    return ".".join(parts)


def _equal_noise(alphas: Tensor) -> Tensor:
    """Return for each timestep the one whose noise, against the signal, is half as strong."""
    spread = 0.5 * torch.log((1 - alphas) / alphas.clamp(min=1e-9)).double().numpy()
    steps = np.interp(spread - np.log(2), spread, np.arange(len(spread), dtype=float))
    steps[-1] = len(spread) - 1
    return torch.from_numpy(steps).float()


def _take_time(larger: UNet2DConditionModel, smaller: UNet2DConditionModel) -> None:
    """Fit the first layer about time: the inner layers see noise averaged over 2×2 latents."""
    alphas = build_scheduler().alphas_cumprod
    before, after = smaller.time_embedding.linear_1, larger.time_embedding.linear_1
    goal = before(smaller.time_proj(_equal_noise(alphas)))  # [1000, width]
    seen = larger.time_proj(torch.arange(len(alphas)).float())
    seen = torch.cat([seen, torch.ones(len(seen), 1)], dim=1)
    gram = seen.T @ seen + _RIDGE * torch.eye(seen.shape[1])
    fitted = torch.linalg.solve(gram, seen.T @ goal)
    after.weight.copy_(fitted[:-1].T)
    after.bias.copy_(fitted[-1])


def _take_input(larger: UNet2DConditionModel, smaller: UNet2DConditionModel) -> None:
    """Let the outer level hand the inner ones what they know: pooled latents and neighbours.

    ``conv_in`` shifts each latent channel nine ways, the downsampler averages cells of 2×2, and
    the next shortcut is the smaller model's ``conv_in``.
    """
    outer, inner = larger.down_blocks[0], larger.down_blocks[1].resnets[0]
    channels = larger.config.in_channels
    known = channels * _SHIFTS
    larger.conv_in.bias.zero_()
    larger.conv_in.weight[:known] = 0
    for row in range(known):
        channel, shift = divmod(row, _SHIFTS)
        larger.conv_in.weight[row, channel, shift // 3, shift % 3] = 1
    outer.resnets[0].conv2.weight.mul_(_FAINT)
    outer.resnets[0].conv2.bias.zero_()
    pool = outer.downsamplers[0].conv
    pool.bias.zero_()
    pool.weight[:known] *= _FAINT / 2
    for row in range(known):
        channel, cell = divmod(row, _SHIFTS)
        for shift_y, tap_y, weight_y in _POOLED[cell // 3 - 1]:
            for shift_x, tap_x, weight_x in _POOLED[cell % 3 - 1]:
                column = channel * _SHIFTS + (shift_y + 1) * 3 + shift_x + 1
                pool.weight[row, column, tap_y + 1, tap_x + 1] += weight_y * weight_x
    shortcut = inner.conv_shortcut
    shortcut.weight[:, known:] *= _FAINT
    shortcut.weight[:, :known, 0, 0] = _GAIN * smaller.conv_in.weight.flatten(1)
    shortcut.bias.copy_(smaller.conv_in.bias)


@torch.no_grad()
def take_inner_levels(larger: UNet2DConditionModel, smaller: UNet2DConditionModel) -> set[str]:
    """Give ``larger`` (one more, outer level) the layers of ``smaller``; return their names.

    Layers that read both levels take over what concerns the inner one, and layers with no
    counterpart stay as they are.
    """
    state, taken = larger.state_dict(), set()
    for name, value in smaller.state_dict().items():
        place = inner_name(name)
        if place not in state or name.startswith(_ON_THE_OUTSIDE):
            continue
        if state[place].shape == value.shape:
            state[place].copy_(value)
            taken.add(place)
        elif name.startswith("up_blocks.2.resnets.1."):
            own = state[place].shape[1 if value.ndim > 1 else 0] - larger.conv_in.out_channels
            state[place].narrow(min(1, value.ndim - 1), 0, own).copy_(
                value.narrow(min(1, value.ndim - 1), 0, own)
            )
    _take_time(larger, smaller)
    _take_input(larger, smaller)
    return taken
