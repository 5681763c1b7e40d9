"""One update: the mean error of some batches, its gradients, and where they move what is learned.

It is a function of tensors that leaves its arguments as they are; a run computes it as it is, or as
one compiled graph (``webui.training.updates.graph``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from webui.prompting.encoding import encode
from webui.training.denoising import Batch, denoising_errors
from webui.training.evaluation import norm_ratio
from webui.training.learned.lora import applied_lora
from webui.training.setup import TrainingSetup
from webui.training.updates.optimizer import Kept, Numbers, Optimizer, Rows

VECTORS, LORA = "vectors", "lora"
Learned = Mapping[str, tuple[Rows, Kept]]
"""What a run moves, and what the optimizer of it keeps: of the vectors, and of a LoRA if any."""


class Errors(Protocol):
    """How the errors of a batch are computed."""

    def learning(self, lora: Rows) -> AbstractContextManager[None]:
        """Compute with these weights of a LoRA, forward and back, inside the ``with`` block."""

    def of(self, batch: Any, vectors: Rows) -> Tensor:
        """Return the error of each sample of a batch, ``[b]``."""


def updated(
    setup: TrainingSetup,
    optimizers: Mapping[str, Optimizer],
    learned: Learned,
    batches: Sequence[Any],
    errors: Errors,
    numbers: Mapping[str, Numbers],
    scale: float | Tensor,
) -> tuple[Learned, Tensor]:
    """Return what is learned after one step by the mean error of all batches, and its figures.

    Figures are ``[3]``: that mean, the length of its gradient by all that is learned, and the
    vectors' ``norm_ratio`` after the step. The error is multiplied by ``scale`` on its way back.
    """
    points = {
        kind: {
            key: rows.detach().requires_grad_()
            for key, rows in optimizers[kind].point(*learned[kind]).items()
        }
        for kind in learned
    }
    leaves = [rows for kind in points.values() for rows in kind.values()]
    gradients = [torch.zeros_like(rows) for rows in leaves]
    losses: list[Tensor] = []
    with torch.enable_grad(), errors.learning(points.get(LORA, {})):
        for batch in batches:
            share = errors.of(batch, points[VECTORS]).mean() / len(batches)
            found = torch.autograd.grad(share * scale, leaves)
            losses.append(share.detach())
            gradients = [sum_ + each / scale for sum_, each in zip(gradients, found, strict=True)]
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    rest = iter(gradients)
    after = {
        kind: optimizers[kind].moved(
            *learned[kind], {key: next(rest) for key in rows}, numbers[kind]
        )
        for kind, rows in points.items()
    }
    ratio = norm_ratio(setup.norms, after[VECTORS][0])
    return after, torch.stack([torch.stack(losses).sum(), length, ratio])


@torch.no_grad()
def update_as_it_is(
    setup: TrainingSetup,
    optimizers: Mapping[str, Optimizer],
    learned: Learned,
    drawn: Sequence[tuple[Batch, Sequence[str]]],
    numbers: Mapping[str, Numbers],
    scale: float,
) -> tuple[Learned, Tensor]:
    """Return ``updated``'s answer for batches and their captions, operation by operation."""
    return updated(setup, optimizers, learned, drawn, _AsItIs(setup), numbers, scale)


class _AsItIs:
    """The errors of batches and their captions."""

    def __init__(self, setup: TrainingSetup) -> None:
        self._setup = setup

    @contextmanager
    def learning(self, lora: Rows) -> Iterator[None]:
        unet = self._setup.model.unet
        with _checkpointing(self._setup), applied_lora(unet, lora):
            yield

    def of(self, batch: tuple[Batch, Sequence[str]], vectors: Rows) -> Tensor:
        setup, (draws, lines) = self._setup, batch
        captions = encode(setup.model, setup.captions(lines, vectors))
        return denoising_errors(
            setup.model,
            setup.schedule,
            setup.latents,
            draws,
            captions,
            setup.compute_dtype,
            setup.recipe.min_snr_gamma,
            setup.guide(draws.crops.tolist()),
        )


@contextmanager
def _checkpointing(setup: TrainingSetup) -> Iterator[None]:
    """Switch the UNet's gradient checkpointing on for one computation, if the recipe has it."""
    if not setup.recipe.gradient_checkpointing:
        yield
        return
    unet = setup.model.unet
    unet.enable_gradient_checkpointing()
    unet.train()  # diffusers checkpoints only then; there is no dropout to mind
    try:
        yield
    finally:
        unet.disable_gradient_checkpointing()
        unet.eval()
