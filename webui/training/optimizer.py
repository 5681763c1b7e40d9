"""How vectors move: along the sphere with the norm held, or with AdamW as in classic inversion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor


class Optimizer(Protocol):
    """Moves the vectors of all text encoders by one step, in place."""

    def step(self, gradients: Mapping[str, Tensor], rate: float) -> None:
        """Move; ``gradients`` are those of the loss by the vectors, ``[n, width]`` each."""

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on exactly, tensors on the CPU."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up ``state()``'s answer."""


USUAL_GRADIENT = 1e-3
"""Length of the gradient by a unit vector that a recipe's pull is measured against."""


class Directional:
    """Spherical gradient descent on each vector's direction, its norm held.

    Directional Textual Inversion (arXiv 2512.13672): with e = norm * v, the gradient by the unit
    vector v is pulled towards the initializer (von Mises-Fisher prior), projected on the tangent
    and scaled to length one; v then moves ``rate`` radians along the great circle. Gradients are
    brought to ``USUAL_GRADIENT`` before they are pulled: a pull is as strong on every model.
    """

    def __init__(self, vectors: Mapping[str, Tensor], pull: float) -> None:
        self._vectors = vectors
        self._pull = pull
        self._norms = {key: rows.norm(dim=-1, keepdim=True) for key, rows in vectors.items()}
        self._start = {key: rows / self._norms[key] for key, rows in vectors.items()}

    def step(self, gradients: Mapping[str, Tensor], rate: float) -> None:
        for key, rows in self._vectors.items():
            unit = rows / rows.norm(dim=-1, keepdim=True)  # [n, width]
            downhill = _scaled(_tangent(-gradients[key], unit), USUAL_GRADIENT)
            pulled = downhill + self._pull * _tangent(self._start[key], unit)
            heading = _scaled(pulled, 1.0)
            turn = rate * heading.norm(dim=-1, keepdim=True)  # [n, 1]: the rate, or 0
            moved = unit * turn.cos() + heading * turn.sin()
            rows.copy_(self._norms[key] * moved / moved.norm(dim=-1, keepdim=True))

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing to take up: where the vectors stand is all there is."""


def _tangent(arrows: Tensor, unit: Tensor) -> Tensor:
    """Return the part of each arrow that is at a right angle to its unit vector."""
    return arrows - (arrows * unit).sum(-1, keepdim=True) * unit


def _scaled(arrows: Tensor, length: float) -> Tensor:
    """Bring each arrow to a length; arrows without a direction stay zero."""
    lengths = arrows.norm(dim=-1, keepdim=True)
    return torch.where(lengths > 0, arrows * (length / lengths.clamp_min(1e-30)), 0.0)


class AdamW:
    """PyTorch's AdamW on the vectors alone, without decay; optionally with clipped gradients."""

    def __init__(self, vectors: Mapping[str, Tensor], clip: float) -> None:
        self._vectors = vectors
        self._clip = clip
        self._inner = torch.optim.AdamW(list(vectors.values()), weight_decay=0.0, foreach=False)

    def step(self, gradients: Mapping[str, Tensor], rate: float) -> None:
        for key, rows in self._vectors.items():
            rows.grad = gradients[key].clone()
        if self._clip:
            torch.nn.utils.clip_grad_norm_(list(self._vectors.values()), self._clip)
        for group in self._inner.param_groups:
            group["lr"] = rate
        self._inner.step()
        self._inner.zero_grad()

    def state(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load(self, state: Mapping[str, Any]) -> None:
        self._inner.load_state_dict(dict(state))


def optimizer_for(name: str, vectors: Mapping[str, Tensor], pull: float, clip: float) -> Optimizer:
    """Return the optimizer a recipe names, for these vectors."""
    return AdamW(vectors, clip) if name == "adamw" else Directional(vectors, pull)
