"""Noise comes from the generator of NVIDIA's cards or from torch's, a picture at a time."""

from __future__ import annotations

import pytest
import torch

from webui.generation.sampling.noise import (
    RNG_SOURCES,
    PictureNoise,
    Seeds,
    slerp,
    stream,
)

SHAPE = (4, 8, 10)


def test_the_numbers_of_a_seed_are_cudas():
    drawn = stream("GPU", 0).normal((3, 4))
    known = [
        [-0.92466259, -0.42534415, -2.6438457, 0.14518388],
        [-0.12086647, -0.57972564, -0.62285122, -0.32838709],
        [-1.07454231, -0.36314407, -1.67105067, 2.26550497],
    ]
    assert drawn.dtype == torch.float32
    assert torch.allclose(drawn, torch.tensor(known), rtol=0, atol=1e-6)


def test_philox_is_the_published_cipher():
    """The known answers of the authors' library Random123, for a counter and key of zeros."""
    words = stream("GPU", 0)._words(1)
    assert [int(word[0]) for word in words] == [0x6627E8D5, 0xE169C58D]


def test_noise_is_normal_and_differs_from_call_to_call_and_from_seed_to_seed():
    own, other, above = (stream("NV", seed) for seed in (5, 6, 5 + 2**32))
    first, second = own.normal((4, 64, 64)), own.normal((4, 64, 64))
    assert float(first.mean()) == pytest.approx(0, abs=0.03)
    assert float(first.std()) == pytest.approx(1, abs=0.02)
    for one in (second, other.normal((4, 64, 64)), above.normal((4, 64, 64))):
        assert abs(float((first * one).mean())) < 0.03
    assert torch.equal(stream("GPU", 5).normal((4, 64, 64)), first)


def test_the_other_source_is_torch():
    drawn = stream("CPU", 7).normal(SHAPE)
    assert torch.equal(drawn, torch.randn(SHAPE, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("source", RNG_SOURCES)
def test_steps_draw_on_from_the_seed_or_from_one_beside_it(source: str):
    numbers = stream(source, 3)
    first, second = numbers.normal(SHAPE), numbers.normal(SHAPE)
    usual, beside = (PictureNoise(source, Seeds(3), SHAPE, delta=delta) for delta in (0, 31337))
    assert torch.equal(usual.first(), first) and torch.equal(beside.first(), first)
    assert torch.equal(usual.next(), second)
    assert torch.equal(beside.next(), stream(source, 31340).normal(SHAPE))
    assert torch.equal(usual.of_seed(9), stream(source, 9).normal(SHAPE))


def test_a_variation_turns_towards_the_other_seed():
    own, other = (stream("GPU", seed).normal(SHAPE) for seed in (3, 4))
    varied = PictureNoise("GPU", Seeds(3, 4, 0.25), SHAPE)
    assert torch.equal(varied.first(), slerp(own, other, 0.25))
    after = stream("GPU", 3)
    after.normal(SHAPE)
    assert torch.equal(varied.next(), after.normal(SHAPE))


@pytest.mark.parametrize(
    ("size", "place", "part"),
    [
        ((4, 6), (slice(2, 6), slice(2, 8)), (slice(None), slice(None))),
        ((12, 12), (slice(None), slice(None)), (slice(2, 10), slice(1, 11))),
        ((4, 20), (slice(2, 6), slice(None)), (slice(None), slice(5, 15))),
        ((5, 8), (slice(1, 6), slice(1, 9)), (slice(None), slice(None))),
    ],
)
def test_the_noise_of_another_size_goes_into_the_middle(size, place, part):
    drawn = PictureNoise("GPU", Seeds(3), SHAPE, size).first()
    inner = stream("GPU", 3).normal((4, *size))
    outer = stream("GPU", 3).normal(SHAPE)
    assert torch.equal(drawn[:, place[0], place[1]], inner[:, part[0], part[1]])
    outer[:, place[0], place[1]] = drawn[:, place[0], place[1]]
    assert torch.equal(drawn, outer)
    assert torch.equal(PictureNoise("GPU", Seeds(3), SHAPE, SHAPE[1:]).first(),
                       stream("GPU", 3).normal(SHAPE))  # fmt: skip


def test_the_noise_between_two_is_as_strong_as_they_are():
    noises = [stream("CPU", seed).normal((4, 64, 64)) for seed in (0, 1)]
    for part in (0.0, 0.3, 0.5, 1.0):
        assert float(slerp(*noises, part).std()) == pytest.approx(1, abs=0.02)
    assert torch.allclose(slerp(noises[0], noises[0], 0.5), noises[0])
