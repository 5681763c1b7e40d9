"""How vectors move: along the sphere with the norm held, or with AdamW as in classic inversion.

An optimizer is a rule and what it keeps between steps. The rule is a function of tensors alone, so
that it can be a part of one graph with what computes the gradients; what a step takes of plain
numbers is computed beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Rows = Mapping[str, Tensor]
"""What moves, by its name: vectors ``[n, width]`` by text encoder, or the weights of a LoRA."""
Kept = Mapping[str, Rows]
"""What an optimizer keeps of each, by what it is."""
Numbers = Sequence[float] | Sequence[Tensor]
"""What a step takes of plain numbers; in a graph they are tensors ``[]``."""


class Optimizer(Protocol):
    """Moves the vectors of all text encoders by one step."""

    kept: Kept
    """As it is after the last step."""
    steps: int
    """How many there have been."""

    def numbers(self, learning_rate: float) -> tuple[float, ...]:
        """Return what ``moved`` takes in the next step."""

    def point(self, rows: Rows, kept: Kept) -> Rows:
        """Return where the next gradients are to be taken."""

    def moved(
        self, rows: Rows, kept: Kept, gradients: Rows, numbers: Numbers
    ) -> tuple[dict[str, Tensor], Kept]:
        """Return both after a step; ``gradients`` are those of the loss at ``point()``."""

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on exactly."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up ``state()``'s answer, from any device."""


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

    def __init__(self, vectors: Rows, prior_weight: float) -> None:
        self._prior_weight = prior_weight
        self._norms = {key: rows.norm(dim=-1, keepdim=True) for key, rows in vectors.items()}
        self._start = {key: rows / self._norms[key] for key, rows in vectors.items()}
        self.kept: Kept = {
            "ahead": dict(self._start),
            "heading": {key: torch.zeros_like(rows) for key, rows in vectors.items()},
        }
        self.steps = 0

    def numbers(self, learning_rate: float) -> tuple[float, ...]:
        steps = self.steps + 1
        memory = min(MEMORY, steps / (steps + 9))  # the first points are forgotten soon
        return learning_rate, memory, 1 - memory

    def point(self, rows: Rows, kept: Kept) -> Rows:
        return {key: self._norms[key] * unit for key, unit in kept["ahead"].items()}

    def moved(
        self, rows: Rows, kept: Kept, gradients: Rows, numbers: Numbers
    ) -> tuple[dict[str, Tensor], Kept]:
        rate, memory, rest = numbers
        after: dict[str, Tensor] = {}
        ahead: dict[str, Tensor] = {}
        headings: dict[str, Tensor] = {}
        for key in rows:
            unit, norm = kept["ahead"][key], self._norms[key]  # [n, width], [n, 1]
            downhill = _scaled(_tangent(-gradients[key], unit), USUAL_GRADIENT)
            pulled = downhill + self._prior_weight * _tangent(self._start[key], unit)
            before = _tangent(kept["heading"][key], unit)
            headings[key] = MOMENTUM * before + (1 - MOMENTUM) * pulled
            heading = _scaled(headings[key], 1.0)
            turn = rate * heading.norm(dim=-1, keepdim=True)  # [n, 1]: the rate, or 0
            ahead[key] = _scaled(unit * turn.cos() + heading * turn.sin(), 1.0)
            mean = memory * rows[key] / norm + rest * ahead[key]
            after[key] = norm * _scaled(mean, 1.0)
        return after, {"ahead": ahead, "heading": headings}

    def state(self) -> dict[str, Any]:
        return {**self.kept, "steps": self.steps}

    def load(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]
        self.kept = {
            what: {key: state[what][key].to(each) for key, each in rows.items()}
            for what, rows in self.kept.items()
        }


def _tangent(arrows: Tensor, unit: Tensor) -> Tensor:
    """Return the part of each arrow that is at a right angle to its unit vector."""
    return arrows - (arrows * unit).sum(-1, keepdim=True) * unit


def _scaled(arrows: Tensor, length: float) -> Tensor:
    """Bring each arrow to a length; arrows without a direction stay zero."""
    lengths = arrows.norm(dim=-1, keepdim=True)
    return torch.where(lengths > 0, arrows * (length / lengths.clamp_min(1e-30)), 0.0)


BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Those of PyTorch's AdamW."""


class AdamW:
    """AdamW without decay (arXiv 1711.05101), to the bit as PyTorch computes it; optionally with
    clipped gradients. Its ``state()`` is laid out as PyTorch's."""

    def __init__(self, rows: Rows, max_grad_norm: float) -> None:
        self._max_grad_norm = max_grad_norm
        self.kept: Kept = {
            what: {key: torch.zeros_like(each) for key, each in rows.items()}
            for what in ("exp_avg", "exp_avg_sq")
        }
        self.steps = 0

    def numbers(self, learning_rate: float) -> tuple[float, ...]:
        first, second = (1 - beta ** (self.steps + 1) for beta in BETAS)
        return -learning_rate / first, second**0.5

    def point(self, rows: Rows, kept: Kept) -> Rows:
        return rows

    def moved(
        self, rows: Rows, kept: Kept, gradients: Rows, numbers: Numbers
    ) -> tuple[dict[str, Tensor], Kept]:
        size, correction = numbers
        if self._max_grad_norm:
            lengths = [gradients[key].norm() for key in rows]
            share = self._max_grad_norm / (torch.stack(lengths).norm() + 1e-6)
            gradients = {key: gradients[key] * share.clamp(max=1.0) for key in rows}
        means: dict[str, Tensor] = {}
        squares: dict[str, Tensor] = {}
        after: dict[str, Tensor] = {}
        for key, each in rows.items():
            gradient = gradients[key]
            means[key] = torch.lerp(kept["exp_avg"][key], gradient, 1 - BETAS[0])
            faded = kept["exp_avg_sq"][key] * BETAS[1]
            squares[key] = torch.addcmul(faded, gradient, gradient, value=1 - BETAS[1])
            usual = squares[key].sqrt() / correction + EPSILON
            after[key] = each + size * means[key] / usual
        return after, {"exp_avg": means, "exp_avg_sq": squares}

    def state(self) -> dict[str, Any]:
        steps = torch.tensor(float(self.steps))
        return {
            "state": {
                number: {"step": steps} | {what: rows[key] for what, rows in self.kept.items()}
                for number, key in enumerate(self.kept["exp_avg"])
            }
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up a state; PyTorch's of before the first step is empty."""
        found = state["state"]
        self.steps = int(found[0]["step"]) if found else 0
        self.kept = {
            what: {
                key: found[number][what].to(each) if found else torch.zeros_like(each)
                for number, (key, each) in enumerate(rows.items())
            }
            for what, rows in self.kept.items()
        }


def optimizer_for(name: str, vectors: Rows, prior_weight: float, max_grad_norm: float) -> Optimizer:
    """Return the optimizer a recipe names, for these vectors."""
    return AdamW(vectors, max_grad_norm) if name == "adamw" else Directional(vectors, prior_weight)
