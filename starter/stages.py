"""The loop that every training stage runs in: it survives being killed and knows its budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from webui.files import replacing

log = logging.getLogger(__name__)
_WARM_UP_STEPS = 100
_LONGEST_STEP_S = 30.0
"""A step that took longer had the machine suspended."""
_COOL_DOWN = 0.45
"""Last part of the budget, in which the learning rate falls to zero."""


@dataclass(frozen=True)
class Budget:
    """How long a stage may take; it ends with whichever of the two is used up first."""

    steps: int
    minutes: float = float("inf")

    def spent(self, step: int, elapsed_s: float) -> float:
        """Return the share of the budget that is used up, 0..1."""
        return min(1.0, max(step / self.steps, elapsed_s / (self.minutes * 60)))


@dataclass(frozen=True)
class Stage:
    """One training stage: what is trained, how, and where its checkpoint lies."""

    name: str
    """Names the checkpoint file."""
    module: nn.Module
    optimizers: list[Optimizer]
    """Each group's "lr" is its peak."""
    budget: Budget
    folder: Path
    ema_decay: float = 0.998
    save_every_s: float = 120.0

    @property
    def checkpoint(self) -> Path:
        """The file that the stage resumes from."""
        return self.folder / f"{self.name}.pt"


def learning_rate_factor(step: int, spent: float) -> float:
    """Return the factor on the peak learning rate: warm-up, flat, then linear to zero."""
    return min(1.0, (step + 1) / _WARM_UP_STEPS, (1 - spent) / _COOL_DOWN)


def run_stage(stage: Stage, loss_at: Callable[[int], Tensor]) -> dict[str, Tensor]:
    """Train until the budget is spent and return the averaged weights (EMA).

    ``loss_at(step)`` must draw its batch from ``step`` alone, so that a resumed run goes on as
    if it had never been stopped. The module is left holding the averaged weights.
    """
    ema = {name: value.detach().clone() for name, value in stage.module.state_dict().items()}
    step, elapsed_s = 0, 0.0
    if stage.checkpoint.exists():
        state = torch.load(stage.checkpoint, map_location="cpu", weights_only=True)
        step, elapsed_s = state["step"], state["elapsed_s"]
        stage.module.load_state_dict(state["module"])
        ema = {name: value.to(ema[name].device) for name, value in state["ema"].items()}
        for optimizer, saved in zip(stage.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        log.info("%s goes on from step %d", stage.name, step)
    peaks = [group["lr"] for optimizer in stage.optimizers for group in optimizer.param_groups]
    peaks = [group.get("peak", peak) for group, peak in zip(_groups(stage), peaks, strict=True)]
    for group, peak in zip(_groups(stage), peaks, strict=True):
        group["peak"] = peak

    def save() -> None:
        optimizers = [optimizer.state_dict() for optimizer in stage.optimizers]
        state = {"step": step, "elapsed_s": elapsed_s, "optimizers": optimizers, "ema": ema}
        with replacing(stage.checkpoint) as file:
            torch.save(state | {"module": stage.module.state_dict()}, file)

    saved_at = last = time.monotonic()
    bar = tqdm(total=stage.budget.steps, initial=step, desc=stage.name, mininterval=5)
    shown = None  # the loss on the bar: a running mean
    while (spent := stage.budget.spent(step, elapsed_s)) < 1:
        factor = learning_rate_factor(step, spent)
        for group in _groups(stage):
            group["lr"] = group["peak"] * factor
        loss = loss_at(step)
        loss.backward()
        nn.utils.clip_grad_norm_(stage.module.parameters(), 1.0)
        for optimizer in stage.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        _average(ema, stage.module, min(stage.ema_decay, (1 + step) / (10 + step)))
        value = loss.item()
        shown = value if shown is None else shown + 0.03 * (value - shown)
        now = time.monotonic()
        elapsed_s, last = elapsed_s + min(now - last, _LONGEST_STEP_S), now
        bar.update()
        bar.set_postfix(loss=f"{shown:.4f}", refresh=False)
        if now - saved_at > stage.save_every_s:
            save()
            saved_at = time.monotonic()
    save()
    bar.close()
    stage.module.load_state_dict(ema)
    return ema


def taken(folder: Path, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return steps and minutes that the stages with a checkpoint in ``folder`` have taken."""
    told = {}
    for name in names:
        path = folder / f"{name}.pt"
        if path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            told[name] = {"steps": state["step"], "minutes": round(state["elapsed_s"] / 60)}
    return told


def _groups(stage: Stage) -> list[dict]:
    return [group for optimizer in stage.optimizers for group in optimizer.param_groups]


@torch.no_grad()
def _average(ema: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            ema[name].lerp_(value, 1 - decay)
        else:
            ema[name].copy_(value)
