"""What weights do to the output of a text encoder."""

from __future__ import annotations

import torch

from webui.prompting.emphasis import emphasize


def parts(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    hidden = torch.randn(2, 77, 8) + 0.3
    weights = torch.ones(2, 77)
    weights[1, 5:9] = 1.4
    return hidden, weights


def test_original_multiplies_and_restores_the_mean_of_each_chunk():
    hidden, weights = parts()
    result = emphasize(hidden, weights, "original")
    torch.testing.assert_close(result[0], hidden[0])
    torch.testing.assert_close(result[1].mean(), hidden[1].mean())
    factor = hidden[1].mean() / (hidden[1] * weights[1, :, None]).mean()
    torch.testing.assert_close(result[1, 6], hidden[1, 6] * 1.4 * factor)


def test_no_norm_only_multiplies():
    hidden, weights = parts()
    result = emphasize(hidden, weights, "no_norm")
    torch.testing.assert_close(result, hidden * weights[..., None])


def test_ignore_and_none_leave_the_output_as_it_is():
    hidden, weights = parts()
    assert emphasize(hidden, weights, "ignore") is hidden
    assert emphasize(hidden, weights, "none") is hidden


def test_comfy_moves_weighted_positions_on_the_line_from_the_empty_prompt():
    hidden, weights = parts()
    empty = torch.randn(1, 77, 8)
    result = emphasize(hidden, weights, "comfy", empty)
    torch.testing.assert_close(result[0], hidden[0])
    torch.testing.assert_close(result[1, 6], empty[0, 6] + 1.4 * (hidden[1, 6] - empty[0, 6]))


def test_a_mean_near_zero_is_not_restored():
    hidden = torch.ones(1, 77, 2)
    weights = torch.ones(1, 77)
    weights[0, :38] = -1  # the new mean is 1/77 of what it was
    weights[0, 38] = 0.001
    result = emphasize(hidden, weights, "original")
    torch.testing.assert_close(result, hidden * weights[..., None])
    assert result.abs().max() == 1
