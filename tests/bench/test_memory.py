"""The peak of memory is counted as it would be on a GPU, with models of a few thousand numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench import memory
from bench.memory import META, PeakMemory
from tests.bench.test_gpu import tiny
from tests.waiting import on_meta
from webui.models.model import Model


def tiny_on_meta(family: str, device: torch.device) -> Model:
    return on_meta(tiny(family, torch.device("cpu")))


def weights_gib(model: Model) -> float:
    parts = (model.unet, model.vae, *(each.model for each in model.text_encoders))
    return sum(each.nbytes for part in parts for each in part.parameters()) / memory.GIB


def test_what_lives_at_once_is_counted_and_views_are_no_more_of_it():
    model = replace(tiny_on_meta("sd1", META), offloading=None)
    with PeakMemory(model) as counted:
        before = counted.peak
        first = torch.empty(1024, 1024, device=META)
        first.t().add_(1)
        del first
        torch.empty(512, 1024, device=META)
    assert before == pytest.approx(weights_gib(model) * memory.GIB, rel=0.1)
    assert counted.peak - before == 4 * 2**20


@pytest.mark.slow
def test_every_row_is_computed_and_a_model_that_waits_takes_less(
    capsys: pytest.CaptureFixture[str],
):
    rows = memory.main(["--batches", "1"], tiny_on_meta)
    assert len(rows) == 10 and capsys.readouterr().out.count("\n|") == len(rows) + 1
    for family, rows_of in (("sd1", rows[:5]), ("sdxl", rows[5:])):
        whole, by_network, by_block, training, saving = (row.peak_gib for row in rows_of)
        assert max(by_block, by_network) < whole
        assert saving <= training
        assert min(whole, training) > weights_gib(tiny_on_meta(family, META))
