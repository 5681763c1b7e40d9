"""The trial of bf16 runs once on a machine, and only where the instructions are there."""

from __future__ import annotations

import pytest

from webui.devices import processor
from webui.devices.processor import bf16_time_share, faster_in_bf16


def test_without_the_instructions_there_is_no_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "has_bf16_instructions", lambda: False)
    monkeypatch.setattr(processor, "bf16_time_share", pytest.fail)
    assert not faster_in_bf16(tmp_path / "cache.json")


def test_the_trial_is_remembered_for_the_machine_it_ran_on(tmp_path, monkeypatch):
    shares = iter([0.5, 0.95])
    monkeypatch.setattr(processor, "has_bf16_instructions", lambda: True)
    monkeypatch.setattr(processor, "bf16_time_share", lambda: next(shares))
    cache = tmp_path / "cache.json"
    assert faster_in_bf16(cache) and faster_in_bf16(cache)
    monkeypatch.setattr(processor, "_machine", lambda: "another processor")
    assert not faster_in_bf16(cache) and not faster_in_bf16(cache)


@pytest.mark.parametrize("content", ["", "[1]", '{"a": "b"}'])
def test_a_damaged_memory_is_as_none(tmp_path, monkeypatch, content):
    monkeypatch.setattr(processor, "has_bf16_instructions", lambda: True)
    monkeypatch.setattr(processor, "bf16_time_share", lambda: 0.5)
    cache = tmp_path / "cache.json"
    cache.write_text(content)
    assert faster_in_bf16(cache)
    assert "0.5" in cache.read_text()


def test_the_trial_is_short_and_gives_a_share(monkeypatch):
    monkeypatch.setattr(processor, "TRIAL_S", 0.0)
    assert 0 < bf16_time_share() < 100
