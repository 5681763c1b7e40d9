"""Noise levels are those of the schedules they are named after."""

from __future__ import annotations

import pytest
import torch

from webui.generation.sampling.noise_levels import Span, align_your_steps, beta_quantiles


def test_beta_quantiles_are_those_of_the_distribution():
    parts = torch.linspace(0, 1, 11, dtype=torch.float64)
    arcsine = torch.sin(torch.pi * parts / 2) ** 2
    assert beta_quantiles(parts.numpy(), 0.5) == pytest.approx(arcsine.numpy(), abs=1e-6)
    assert beta_quantiles(parts.numpy(), 1.0) == pytest.approx(parts.numpy(), abs=1e-6)


def test_align_your_steps_takes_the_levels_of_the_models_family():
    sd1, sdxl = (align_your_steps(11, Span(0.03, 14.6, sdxl)) for sdxl in (False, True))
    assert (sd1[1], sdxl[1]) == (pytest.approx(6.475), pytest.approx(6.315))
    assert sd1[-1] == pytest.approx(0.03)
