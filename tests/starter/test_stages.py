"""Training goes on after a kill as if nothing had happened."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from starter.optimizers import is_matrix, optimizers_for
from starter.stages import Budget, Stage, learning_rate_factor, run_stage
from starter.unet import random_timesteps, velocity_loss, words_mask


def _stage(folder: Path, steps: int, peak_lr: float = 1e-2) -> tuple[Stage, list[int]]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizers = optimizers_for(module, peak_lr)
    return Stage("small", module, optimizers, Budget(steps), folder, 0.9, 0.0), []


def _loss(stage: Stage, seen: list[int], killed_at: int | None = None):
    def loss_at(step: int) -> Tensor:
        if step == killed_at:
            raise KeyboardInterrupt
        seen.append(step)
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        return (stage.module(x)[:, 0] - x.sum(1)).square().mean()

    return loss_at


def test_a_killed_stage_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole, seen = _stage(tmp_path / "whole", 30)
    expected = run_stage(whole, _loss(whole, seen))

    stopped, seen = _stage(tmp_path / "stopped", 30)
    with pytest.raises(KeyboardInterrupt):
        run_stage(stopped, _loss(stopped, seen, killed_at=17))
    resumed, seen_after = _stage(tmp_path / "stopped", 30)
    found = run_stage(resumed, _loss(resumed, seen_after))

    assert seen_after == list(range(17, 30))
    assert all(torch.allclose(expected[name], found[name], atol=1e-6) for name in expected)


def test_a_finished_stage_takes_no_further_step(tmp_path: Path) -> None:
    stage, seen = _stage(tmp_path, 5)
    expected = run_stage(stage, _loss(stage, seen))
    again, seen = _stage(tmp_path, 5)
    assert seen == [] and run_stage(again, _loss(again, seen)).keys() == expected.keys()
    assert seen == []


def test_a_half_written_checkpoint_does_not_replace_a_whole_one(
    tmp_path: Path, monkeypatch
) -> None:
    stage, seen = _stage(tmp_path, 5)
    run_stage(stage, _loss(stage, seen))
    before = stage.checkpoint.read_bytes()

    def broken(state: dict, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    longer, seen = _stage(tmp_path, 8)
    with pytest.raises(OSError):
        run_stage(longer, _loss(longer, seen))
    assert stage.checkpoint.read_bytes() == before


def test_training_makes_the_loss_smaller(tmp_path: Path) -> None:
    stage, seen = _stage(tmp_path, 200, peak_lr=0.1)
    before = _loss(stage, seen)(0).item()
    run_stage(stage, _loss(stage, seen))
    assert _loss(stage, seen)(0).item() < before / 3


def test_a_budget_ends_with_steps_or_with_minutes() -> None:
    assert Budget(100).spent(50, 1e9) == 0.5
    assert Budget(100, minutes=1).spent(1, 60) == 1
    assert learning_rate_factor(0, 0) < 0.05
    assert learning_rate_factor(1000, 0.3) == 1
    assert learning_rate_factor(1000, 1) == 0


def test_tables_and_outer_layers_are_not_orthogonalised() -> None:
    weight = torch.zeros(4, 4)
    assert is_matrix("mid.resnets.0.conv1.weight", weight)
    assert not is_matrix("embeddings.token_embedding.weight", weight)
    assert not is_matrix("conv_in.weight", weight)
    assert not is_matrix("norm.weight", weight[0])


def test_the_right_velocity_costs_nothing() -> None:
    alphas = torch.linspace(1, 0, 10)
    latents, noise = torch.randn(2, 3, 4, 16, 16)
    at = torch.tensor([0, 4, 9])
    alpha = alphas[at].view(-1, 1, 1, 1)
    truth = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    assert velocity_loss(lambda noisy, t: truth, latents, noise, at, alphas).item() < 1e-12


def test_words_only_captions_hide_all_from_the_end_token_on(monkeypatch) -> None:
    import numpy as np

    ids = torch.tensor([[49406, 5, 6, 49407, 49407]] * 400)
    shown = words_mask(ids, np.random.default_rng(0))
    kinds = {tuple(row) for row in shown.int().tolist()}
    assert kinds == {(1, 1, 1, 1, 1), (1, 1, 1, 0, 0)}
    steps = random_timesteps(np.random.default_rng(0), 4000)
    assert steps.min() >= 0 and steps.max() < 1000
    assert 0.5 < ((steps > 250) & (steps < 610)).float().mean() < 0.8
