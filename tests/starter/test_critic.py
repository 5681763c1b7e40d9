"""The critic prefers what is well drawn, whatever the fault, and whatever is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from starter.critic import (
    WEIGHTS,
    Critic,
    Guesses,
    better_share,
    faults_told,
    judged,
    load_critic,
    save_critic,
    train_critic,
)
from starter.faults import HELD_BACK, LEARNED, spoil
from starter.pictures import picture_at
from starter.stages import Budget


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return np.stack([picture_at(905_000, index, True) for index in range(12)])


@pytest.mark.parametrize("name", [*LEARNED, *HELD_BACK])
def test_a_fault_spoils_more_the_stronger_it_is_and_leaves_the_picture_it_was_given(
    drawn: np.ndarray, name: str
) -> None:
    fault, before = {**LEARNED, **HELD_BACK}[name], drawn.copy()
    away = [
        np.mean([
            np.abs(spoil(one, fault, strength, np.random.default_rng(0)).astype(int) - one).mean()
            for one in drawn
        ])
        for strength in (0.0, 0.3, 1.0)
    ]  # fmt: skip
    assert 0 < away[0] < away[1] < away[2]
    assert np.array_equal(drawn, before)


def test_it_is_small_and_knows_faults_that_it_has_never_seen() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    told = faults_told(load_critic(), 905_000, 8, 0.5)
    assert np.mean(list(told.values())) >= 0.9
    assert np.mean([told[name] for name in HELD_BACK]) >= 0.75
    assert told["hazy"] == 1


def test_it_judges_each_picture_by_itself(drawn: np.ndarray) -> None:
    critic = load_critic()
    alone = np.concatenate([judged(critic, drawn[[row]]) for row in range(3)])
    np.testing.assert_allclose(judged(critic, drawn)[:3], alone, rtol=1e-3, atol=1e-3)
    assert better_share(critic, drawn, drawn) == 0


def test_what_is_trained_is_the_same_when_it_is_loaded(tmp_path: Path) -> None:
    drawn = np.stack([picture_at(905_001, index, True) for index in range(4)])
    flat = np.full_like(drawn, 128)
    torch.manual_seed(0)
    critic = Critic()
    train_critic(critic, Guesses(drawn, drawn, drawn, flat), Budget(6), tmp_path)
    save_critic(critic, tmp_path / "critic.safetensors")
    again = load_critic(tmp_path / "critic.safetensors")
    assert not again.training
    np.testing.assert_allclose(judged(again, drawn), judged(critic, drawn), rtol=0.05, atol=0.05)
