"""How vectors move."""

from __future__ import annotations

import pytest
import torch

from webui.training.optimizer import AdamW, Directional


def rows(seed: int = 0, scale: float = 0.4) -> torch.Tensor:
    found = torch.randn(3, 16, generator=torch.Generator().manual_seed(seed))
    return found / found.norm(dim=-1, keepdim=True) * scale


def test_the_norm_is_held_and_each_point_turns_by_the_rate():
    vectors = {"clip_l": rows()}
    before = vectors["clip_l"].clone()
    optimizer = Directional(vectors, prior_weight=0.0)
    optimizer.step({"clip_l": rows(1, 123.0)}, 0.05)
    after = optimizer.point()["clip_l"]
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1))
    angles = torch.cosine_similarity(before, after, dim=-1).acos()
    torch.testing.assert_close(angles, torch.full((3,), 0.05), atol=2e-4, rtol=0)


def test_the_norm_is_held_over_many_noisy_steps():
    vectors = {"clip_l": rows()}
    optimizer = Directional(vectors, prior_weight=1e-4)
    for seed in range(500):
        optimizer.step({"clip_l": rows(seed, 1.0)}, 0.04)
    torch.testing.assert_close(vectors["clip_l"].norm(dim=-1), torch.full((3,), 0.4))


def test_it_goes_downhill():
    goal, vectors = rows(5), {"clip_l": rows()}
    optimizer = Directional(vectors, prior_weight=0.0)
    for _ in range(100):
        optimizer.step({"clip_l": vectors["clip_l"] - goal}, 0.05)
    assert torch.cosine_similarity(vectors["clip_l"], goal, dim=-1).min() > 0.99


def test_the_vectors_lie_nearer_to_the_goal_than_the_points_that_swing_around_it():
    goal, vectors = rows(5), {"clip_l": rows()}
    optimizer = Directional(vectors, prior_weight=0.0)
    near = {"vectors": 0.0, "points": 0.0}
    for step in range(300):
        noise = rows(1000 + step, 0.8)
        optimizer.step({"clip_l": optimizer.point()["clip_l"] - goal + noise}, 0.1)
        if step >= 100:
            for name, found in (("vectors", vectors), ("points", optimizer.point())):
                near[name] += float(torch.cosine_similarity(found["clip_l"], goal, dim=-1).mean())
    assert near["vectors"] > near["points"]


def test_at_a_rate_that_falls_to_zero_the_vectors_end_where_the_points_do():
    goal, vectors = rows(5), {"clip_l": rows()}
    optimizer = Directional(vectors, prior_weight=0.0)
    for step in range(300):
        point = optimizer.point()["clip_l"]
        optimizer.step({"clip_l": point - goal}, 0.1 * (1 - step / 300))
    torch.testing.assert_close(vectors["clip_l"], optimizer.point()["clip_l"], atol=2e-3, rtol=0)


def test_a_vector_without_a_gradient_stays():
    vectors = {"clip_l": rows()}
    before = vectors["clip_l"].clone()
    gradient = rows(1)
    gradient[1] = 0
    Directional(vectors, prior_weight=0.0).step({"clip_l": gradient}, 0.05)
    torch.testing.assert_close(vectors["clip_l"][1], before[1])
    assert not torch.equal(vectors["clip_l"][0], before[0])


@pytest.mark.parametrize("norm", [0.4, 4.0])
@pytest.mark.parametrize("strength", [1e-4, 10.0])
def test_the_pull_is_as_strong_whatever_norm_and_gradient(norm: float, strength: float):
    start = torch.tensor([[1.0, 0.0, 0.0]])
    vectors = {"clip_l": start * norm}
    optimizer = Directional(vectors, prior_weight=2e-3)
    away = torch.tensor([[0.0, -strength, 0.0]])  # half as strong as the pull at a right angle
    for step in range(400):
        optimizer.step({"clip_l": away}, 0.05 * (1 - step / 400))
    turned = torch.atan2(vectors["clip_l"][0, 1], vectors["clip_l"][0, 0])
    assert float(turned) == pytest.approx(torch.pi / 6, abs=0.03)


def test_adamw_does_not_decay_and_clips_what_it_is_told_to():
    vectors = {"clip_l": rows()}
    before = vectors["clip_l"].clone()
    optimizer = AdamW(vectors, max_grad_norm=0.1)
    optimizer.step({"clip_l": torch.zeros(3, 16)}, 0.01)
    assert torch.equal(vectors["clip_l"], before)
    optimizer.step({"clip_l": rows(1, 1000.0)}, 0.01)
    moment = optimizer.state()["state"][0]["exp_avg"]
    assert float(moment.norm()) == pytest.approx(0.01, rel=1e-3)  # (1 - 0.9) of the clipped 0.1
