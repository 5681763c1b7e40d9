"""What is sent to a device arrives without waiting for it."""

from __future__ import annotations

import pytest
import torch

from tests.waiting import META, Waits
from webui.devices.copies import send, sent


def test_waiting_is_noticed():
    with Waits() as waits:
        there = torch.ones(2).to(META)
        torch.ones(2, device=META).copy_(torch.ones(2))
        with pytest.raises(RuntimeError):
            there.sum().item()
        torch.tensor([1, 2], device=META)
    assert waits.found == [
        "_to_copy between devices", "copy_ between devices", "_local_scalar_dense",
        "tensor on the device",
    ]  # fmt: skip


def test_what_is_sent_arrives_without_waiting():
    with Waits() as waits:
        assert sent([[1, 2], [3, 4]], META).shape == (2, 2)
        assert send(torch.ones(3), META).device == META
    assert torch.equal(sent([1, 2], torch.device("cpu")), torch.tensor([1, 2]))
    assert not waits.found
