"""How vectors move: along the sphere with the norm held, or with AdamW as in classic inversion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor


class Optimizer(Protocol):
    """Moves the vectors of all text encoders by one step, in place."""

    def point(self) -> Mapping[str, Tensor]:
        """Return where the next gradients are to be taken, ``[n, width]`` each."""

    def step(self, gradients: Mapping[str, Tensor], learning_rate: float) -> None:
        """Move; ``gradients`` are those of the loss at ``point()``, ``[n, width]`` each."""

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on exactly, tensors on the CPU."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up ``state()``'s answer."""


USUAL_GRADIENT = 1e-3
"""Length of the gradient by a unit vector that a recipe's prior weight is measured against."""


MOMENTUM = 0.8
"""How much of the last heading is in the next: single gradients are mostly noise."""
MEMORY = 0.9
"""How much of the mean of the points passed is in the next one: what swings between them cancels
out, so that the rate may be high; with a rate that falls to zero the mean ends where they end."""


class Directional:
    """Spherical gradient descent on each vector's direction, its norm held.

    Directional Textual Inversion (arXiv 2512.13672): with e = norm * v, the gradient by the unit
    vector v is pulled towards the initializer (von Mises-Fisher prior), projected on the tangent
    and scaled to length one; v then moves ``learning_rate`` radians along the great circle.
    Gradients are brought to ``USUAL_GRADIENT`` before they are pulled: the pull is as strong on
    every model.

    Beyond the paper the heading has momentum, and the vectors are the running mean of the points
    that are moved (Polyak and Juditsky, 1992).
    """

    def __init__(self, vectors: Mapping[str, Tensor], prior_weight: float) -> None:
        self._vectors = vectors
        self._prior_weight = prior_weight
        self._norms = {key: rows.norm(dim=-1, keepdim=True) for key, rows in vectors.items()}
        self._start = {key: rows / self._norms[key] for key, rows in vectors.items()}
        self._ahead = {key: rows.clone() for key, rows in self._start.items()}
        self._heading = {key: torch.zeros_like(rows) for key, rows in vectors.items()}
        self._steps = 0

    def point(self) -> dict[str, Tensor]:
        return {key: self._norms[key] * unit for key, unit in self._ahead.items()}

    def step(self, gradients: Mapping[str, Tensor], learning_rate: float) -> None:
        self._steps += 1
        memory = min(MEMORY, self._steps / (self._steps + 9))  # the first points are forgotten soon
        for key, rows in self._vectors.items():
            unit, norm = self._ahead[key], self._norms[key]  # [n, width], [n, 1]
            downhill = _scaled(_tangent(-gradients[key], unit), USUAL_GRADIENT)
            pulled = downhill + self._prior_weight * _tangent(self._start[key], unit)
            kept = _tangent(self._heading[key], unit)
            self._heading[key] = MOMENTUM * kept + (1 - MOMENTUM) * pulled
            heading = _scaled(self._heading[key], 1.0)
            turn = learning_rate * heading.norm(dim=-1, keepdim=True)  # [n, 1]: the rate, or 0
            self._ahead[key] = _scaled(unit * turn.cos() + heading * turn.sin(), 1.0)
            mean = memory * rows / norm + (1 - memory) * self._ahead[key]
            rows.copy_(norm * _scaled(mean, 1.0))

    def state(self) -> dict[str, Any]:
        return {"ahead": self._ahead, "heading": self._heading, "steps": self._steps}

    def load(self, state: Mapping[str, Any]) -> None:
        self._steps = state["steps"]
        for key in self._vectors:
            self._ahead[key] = state["ahead"][key].to(self._ahead[key])
            self._heading[key] = state["heading"][key].to(self._heading[key])


def _tangent(arrows: Tensor, unit: Tensor) -> Tensor:
    """Return the part of each arrow that is at a right angle to its unit vector."""
    return arrows - (arrows * unit).sum(-1, keepdim=True) * unit


def _scaled(arrows: Tensor, length: float) -> Tensor:
    """Bring each arrow to a length; arrows without a direction stay zero."""
    lengths = arrows.norm(dim=-1, keepdim=True)
    return torch.where(lengths > 0, arrows * (length / lengths.clamp_min(1e-30)), 0.0)


class AdamW:
    """PyTorch's AdamW on the vectors alone, without decay; optionally with clipped gradients."""

    def __init__(self, vectors: Mapping[str, Tensor], max_grad_norm: float) -> None:
        self._vectors = vectors
        self._max_grad_norm = max_grad_norm
        self._inner = torch.optim.AdamW(list(vectors.values()), weight_decay=0.0, foreach=False)

    def point(self) -> Mapping[str, Tensor]:
        return self._vectors

    def step(self, gradients: Mapping[str, Tensor], learning_rate: float) -> None:
        for key, rows in self._vectors.items():
            rows.grad = gradients[key].clone()
        if self._max_grad_norm:
            torch.nn.utils.clip_grad_norm_(list(self._vectors.values()), self._max_grad_norm)
        for group in self._inner.param_groups:
            group["lr"] = learning_rate
        self._inner.step()
        self._inner.zero_grad()

    def state(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load(self, state: Mapping[str, Any]) -> None:
        self._inner.load_state_dict(dict(state))


def optimizer_for(
    name: str, vectors: Mapping[str, Tensor], prior_weight: float, max_grad_norm: float
) -> Optimizer:
    """Return the optimizer a recipe names, for these vectors."""
    return AdamW(vectors, max_grad_norm) if name == "adamw" else Directional(vectors, prior_weight)
