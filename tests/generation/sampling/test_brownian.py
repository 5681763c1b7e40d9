"""Brownian noise is that of the library torchsde, and depends on the seed and the levels alone."""

from __future__ import annotations

import math

import pytest
import torch
import torchsde

from webui.generation.sampling.brownian import BrownianNoise, BrownianTree

SHAPE = (4, 8, 8)
LEVELS = [14.614643, 9.7213, 6.3, 4.05, 2.5, 1.5, 0.9, 0.51, 0.28, 0.14, 0.0701, 0.0291675]


def draw(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def tree(seed: int) -> BrownianTree:
    return BrownianTree(LEVELS[-1], LEVELS[0], seed, draw)


@pytest.mark.parametrize("seed", [0, 123, 2**32 - 1])
def test_the_tree_is_torchsdes(seed: int):
    theirs = torchsde.BrownianTree(LEVELS[-1], torch.zeros(SHAPE), LEVELS[0], entropy=seed)
    ours = tree(seed)
    for high, low in zip(LEVELS, LEVELS[1:], strict=False):
        assert torch.equal(ours.between(low, high), theirs(low, high))
        middle = math.sqrt(low * high)
        assert torch.equal(ours.between(middle, high), theirs(middle, high))


def test_the_order_of_questions_does_not_matter():
    ours, other = tree(5), tree(5)
    pairs = list(zip(LEVELS[1:], LEVELS, strict=False))
    found = [ours.between(*pair) for pair in pairs]
    again = [other.between(*pair) for pair in reversed(pairs)][::-1]
    assert all(torch.equal(one, two) for one, two in zip(found, again, strict=True))
    assert (sum(found) - ours.between(LEVELS[-1], LEVELS[0])).abs().max() < 1e-4
    assert not ours.between(1.0, 1.0).any()


def test_the_noise_has_a_variance_of_1_and_each_picture_its_own():
    noise = BrownianNoise([tree(5), tree(6)])
    drawn = torch.stack([noise(high, low) for high, low in zip(LEVELS, LEVELS[1:], strict=False)])
    assert float(drawn.var()) == pytest.approx(1, rel=0.1)
    alone = BrownianNoise([tree(6)])(LEVELS[3], LEVELS[4])
    assert torch.equal(alone[0], drawn[3, 1]) and not torch.equal(drawn[3, 0], drawn[3, 1])
