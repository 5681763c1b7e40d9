"""The studio says what can be used with the loaded model, and why not."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.parts import wait_until
from webui.settings import Settings
from webui.studio.studio import Studio


def write(settings: Settings, name: str, width: int) -> None:
    settings.embeddings_dirs[0].mkdir(parents=True, exist_ok=True)
    vectors = torch.randn(2, width) * 0.02
    torch.save({"string_to_param": {"*": vectors}}, settings.embeddings_dirs[0] / name)


def test_the_terminal_says_how_many_embeddings_there_are_and_which_were_skipped(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("webui.studio.studio.FIRST_READING_S", 120.0)
    write(settings, "b.pt", 128)
    write(settings, "A.pt", 128)
    (settings.embeddings_dirs[0] / "broken.pt").write_bytes(b"")
    studio = Studio(settings)
    with caplog.at_level(logging.INFO):
        studio.open()
    studio.close()
    assert "Loaded a total of 2 textual inversion embeddings." in caplog.messages
    assert "Embeddings: A, b" in caplog.messages
    assert any(line.startswith("Skipped broken.pt: ") for line in caplog.messages)


def test_the_start_does_not_wait_for_ever_for_embeddings_it_has_never_seen(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("webui.studio.studio.FIRST_READING_S", 0.0)
    for number in range(50):
        write(settings, f"name-{number}.pt", 128)
    studio = Studio(settings)
    with caplog.at_level(logging.INFO):
        studio.open()
        assert any("the page is served while" in line for line in caplog.messages)
        wait_until(lambda: "Loaded a total of 50 textual inversion embeddings." in caplog.messages)
    studio.close()


def test_an_embedding_for_another_family_says_which_and_what_to_do(
    studio: Studio, settings: Settings
):
    write(settings, "sd.pt", 768)
    write(settings, "mine.pt", 128)
    wait_until(lambda: {"sd", "mine"} <= set(studio.library.names()))
    reason = studio.why_unusable(studio.library.card("sd"))
    assert reason == "Made for SD1 (768); “tiny” needs 128."
    assert studio.why_unusable(studio.library.card("mine")) is None
