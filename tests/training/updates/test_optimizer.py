"""How vectors move."""

from __future__ import annotations

import pytest
import torch

from webui.training.updates.optimizer import AdamW, Directional, Optimizer, Rows, optimizer_for


def rows(seed: int = 0, scale: float = 0.4) -> torch.Tensor:
    found = torch.randn(3, 16, generator=torch.Generator().manual_seed(seed))
    return found / found.norm(dim=-1, keepdim=True) * scale


def move(
    optimizer: Optimizer, vectors: dict[str, torch.Tensor], gradients: Rows, rate: float
) -> None:
    """One step of a run."""
    after, optimizer.kept = optimizer.moved(
        vectors, optimizer.kept, gradients, optimizer.numbers(rate)
    )
    optimizer.steps += 1
    vectors.update(after)


def point(optimizer: Directional) -> torch.Tensor:
    return optimizer.point({}, optimizer.kept)["clip_l"]


def test_the_norm_is_held_and_each_point_turns_by_the_rate():
    vectors = {"clip_l": rows()}
    before = vectors["clip_l"].clone()
    optimizer = Directional(vectors, prior_weight=0.0)
    move(optimizer, vectors, {"clip_l": rows(1, 123.0)}, 0.05)
    after = point(optimizer)
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1))
    angles = torch.cosine_similarity(before, after, dim=-1).acos()
    torch.testing.assert_close(angles, torch.full((3,), 0.05), atol=2e-4, rtol=0)


def test_the_norm_is_held_over_many_noisy_steps():
    vectors = {"clip_l": rows()}
    optimizer = Directional(vectors, prior_weight=1e-4)
    for seed in range(500):
        move(optimizer, vectors, {"clip_l": rows(seed, 1.0)}, 0.04)
    torch.testing.assert_close(vectors["clip_l"].norm(dim=-1), torch.full((3,), 0.4))


def test_it_goes_downhill():
    goal, vectors = rows(5), {"clip_l": rows()}
    optimizer = Directional(vectors, prior_weight=0.0)
    for _ in range(100):
        move(optimizer, vectors, {"clip_l": vectors["clip_l"] - goal}, 0.05)
    assert torch.cosine_similarity(vectors["clip_l"], goal, dim=-1).min() > 0.99


def test_the_vectors_lie_nearer_to_the_goal_than_the_points_that_swing_around_it():
    goal, vectors = rows(5), {"clip_l": rows()}
    optimizer = Directional(vectors, prior_weight=0.0)
    near = {"vectors": 0.0, "points": 0.0}
    for step in range(300):
        noise = rows(1000 + step, 0.8)
        move(optimizer, vectors, {"clip_l": point(optimizer) - goal + noise}, 0.1)
        if step >= 100:
            for name, found in (("vectors", vectors["clip_l"]), ("points", point(optimizer))):
                near[name] += float(torch.cosine_similarity(found, goal, dim=-1).mean())
    assert near["vectors"] > near["points"]


def test_at_a_rate_that_falls_to_zero_the_vectors_end_where_the_points_do():
    goal, vectors = rows(5), {"clip_l": rows()}
    optimizer = Directional(vectors, prior_weight=0.0)
    for step in range(300):
        here = point(optimizer)
        move(optimizer, vectors, {"clip_l": here - goal}, 0.1 * (1 - step / 300))
    torch.testing.assert_close(vectors["clip_l"], point(optimizer), atol=2e-3, rtol=0)


def test_a_vector_without_a_gradient_stays():
    vectors = {"clip_l": rows()}
    before = vectors["clip_l"].clone()
    gradient = rows(1)
    gradient[1] = 0
    move(Directional(vectors, prior_weight=0.0), vectors, {"clip_l": gradient}, 0.05)
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
        move(optimizer, vectors, {"clip_l": away}, 0.05 * (1 - step / 400))
    turned = torch.atan2(vectors["clip_l"][0, 1], vectors["clip_l"][0, 0])
    assert float(turned) == pytest.approx(torch.pi / 6, abs=0.03)


def test_adamw_does_not_decay_and_clips_what_it_is_told_to():
    vectors = {"clip_l": rows()}
    before = vectors["clip_l"].clone()
    optimizer = AdamW(vectors, max_grad_norm=0.1)
    move(optimizer, vectors, {"clip_l": torch.zeros(3, 16)}, 0.01)
    assert torch.equal(vectors["clip_l"], before)
    move(optimizer, vectors, {"clip_l": rows(1, 1000.0)}, 0.01)
    moment = optimizer.state()["state"][0]["exp_avg"]
    assert float(moment.norm()) == pytest.approx(0.01, rel=1e-3)  # (1 - 0.9) of the clipped 0.1


@pytest.mark.parametrize("max_grad_norm", [0.0, 1e-3])
def test_adamw_is_pytorchs_to_the_bit_and_goes_on_from_its_state(max_grad_norm: float):
    ours = {"clip_l": rows(1), "clip_g": rows(2)}
    theirs = [each.clone() for each in ours.values()]
    expected = torch.optim.AdamW(theirs, weight_decay=0.0, foreach=False)
    optimizer = AdamW(ours, max_grad_norm)
    for step in range(12):
        gradients = {key: rows(10 * step + len(key), 0.01) for key in ours}
        move(optimizer, ours, gradients, rate := 0.01 / (1 + step))
        for each, gradient in zip(theirs, gradients.values(), strict=True):
            each.grad = gradient.clone()
        if max_grad_norm:
            torch.nn.utils.clip_grad_norm_(theirs, max_grad_norm)
        expected.param_groups[0]["lr"] = rate
        expected.step()
        assert all(map(torch.equal, ours.values(), theirs))
        if step == 5:
            optimizer = AdamW(ours, max_grad_norm)
            optimizer.load(expected.state_dict())


@pytest.mark.parametrize("name", ["directional", "adamw"])
def test_a_step_changes_nothing_that_it_was_given(name: str):
    vectors = {"clip_l": rows()}
    optimizer = optimizer_for(name, vectors, 0.1, 1e-3)
    given = (vectors["clip_l"], *(each["clip_l"] for each in optimizer.kept.values()))
    before = [each.clone() for each in given]
    optimizer.moved(vectors, optimizer.kept, {"clip_l": rows(1)}, optimizer.numbers(0.05))
    assert all(map(torch.equal, given, before))
