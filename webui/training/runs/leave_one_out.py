"""What one held-out image cannot tell: others are left out in turn, each of a training anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from webui.training.dataset import held_out
from webui.training.denoising import Batch
from webui.training.evaluation import errors_of, gain_of
from webui.training.learned.lora import applied_lora

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webui.training.evaluation import EvalSet
    from webui.training.learned.lora import Lora
    from webui.training.runs.report import EvalResult
    from webui.training.setup import TrainingSetup


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Errors on inputs of held-out images, ``[n]`` each."""

    learned: Tensor
    initializer: Tensor
    concepts: Tensor
    """Which of the run's names each input shows."""


def says_too_little(found: EvalResult) -> bool:
    """Whether the images gain for sure, but what was held out of them does not."""
    unseen, doubt = found.held_out, found.held_out_error
    return (
        unseen is not None
        and doubt is not None
        and not unseen > doubt
        and found.gain > 2 * found.error
    )


def without(setup: TrainingSetup, turn: int) -> TrainingSetup:
    """Return a setup that leaves other images out than the usual ones, at turn 1 and later."""
    unseen = held_out(setup.pictures, turn)
    pictures = setup.latents.pictures
    recipe = replace(setup.recipe, evaluate_every=setup.recipe.steps, stop_early=False)
    crops = tuple(crop for crop, picture in enumerate(pictures) if picture not in unseen)
    return replace(setup, recipe=recipe, training_crops=crops)


def measured(
    setup: TrainingSetup, eval_set: EvalSet, vectors: Mapping[str, Tensor], lora: Lora
) -> HeldOut:
    """Measure what was learned on the inputs of held-out images alone."""
    held = eval_set.held_out.nonzero().flatten()
    batch, lines = eval_set.batch, [eval_set.lines[index] for index in held.tolist()]
    alone = Batch(
        batch.crops[held], batch.latent_noise[held], batch.noise[held], batch.timesteps[held]
    )
    with applied_lora(setup.model.unet, lora):
        learned = errors_of(setup, alone, lines, vectors)
    return HeldOut(learned, eval_set.initializer[held], eval_set.concepts[held])


def together(found: EvalResult, turns: Sequence[HeldOut], name: int) -> EvalResult:
    """Return the score of a name, counted from 0, with the held-out gain over all turns."""
    own = torch.cat([turn.concepts for turn in turns]) == name
    learned = torch.cat([turn.learned for turn in turns])
    initializer = torch.cat([turn.initializer for turn in turns])
    gain, error = gain_of(learned[own], initializer[own])
    return replace(found, held_out=gain, held_out_error=error, turns=len(turns))
