"""With the network cable pulled, the shipped model is loaded and draws."""

from __future__ import annotations

import ipaddress
import socket

import pytest
import torch

from tests.parts import Library
from webui.generation.engine import Picture, generate
from webui.generation.request import default_request
from webui.models.catalog import STARTER, find_checkpoint
from webui.models.loader import load
from webui.prompting.conditioning import Conditioner
from webui.settings import Settings


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any look-up of a name and any connection to another machine fails the test."""
    connect = socket.socket.connect

    def only_loopback(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and not ipaddress.ip_address(address[0]).is_loopback:
            pytest.fail(f"something connected to {address}")
        connect(self, address)

    def no_names(host: object, *_: object, **__: object) -> None:
        pytest.fail(f"something looked up {host}")

    monkeypatch.setattr(socket.socket, "connect", only_loopback)
    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    monkeypatch.delenv("HF_HUB_OFFLINE")


def test_the_shipped_model_draws_without_a_network(no_network: None):
    checkpoint = find_checkpoint(Settings().models_dir, STARTER)
    model = load(checkpoint, torch.device("cpu"), torch.float32)
    request = default_request(model.defaults, prompt="a red circle", steps=2, seed=1)
    events = list(generate(model, request, Library(), Conditioner()))
    assert isinstance(events[-1], Picture)
    assert events[-1].image.size == (request.width, request.height)
