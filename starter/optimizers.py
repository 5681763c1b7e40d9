"""The optimizer of all stages: orthogonalised momentum for matrices, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


def _orthogonalised(matrix: Tensor) -> Tensor:
    """Return the nearest matrix with singular values near one, by Newton-Schulz iteration.

    Quintic coefficients of Keller Jordan, "Muon" (2024); rows and columns as given.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = (x / (x.norm() + 1e-7)).bfloat16()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


class Muon(Optimizer):
    """Momentum whose update of every weight matrix is made orthogonal; convolutions count as such.

    Updates are scaled to the size that AdamW's would have, so learning rates carry over.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move each parameter once."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"])
                update = _orthogonalised(ahead.flatten(1)).view_as(weight)
                size = 0.2 * max(update.flatten(1).shape) ** 0.5
                weight.add_(update, alpha=-group["lr"] * size)


def is_matrix(name: str, weight: Tensor) -> bool:
    """Return whether a parameter is a hidden weight matrix, and neither a table nor an outer
    layer."""
    outer = ("embedding", "conv_in", "conv_out")
    return weight.ndim >= 2 and not any(part in name for part in outer)


def optimizers_for(module: nn.Module, peak_lr: float) -> list[Optimizer]:
    """Return one optimizer for the hidden matrices of ``module`` and one for everything else."""
    named = [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]
    matrices = [weight for name, weight in named if is_matrix(name, weight)]
    rest = [weight for name, weight in named if not is_matrix(name, weight)]
    return [
        Muon(matrices, peak_lr),
        AdamW(rest, peak_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
