"""Downloads run in a process of their own, which is the only one that uses the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import write_tiny_checkpoint
from tests.hub import Hub, serving
from tests.parts import wait_until
from webui.errors import AppError, BadField
from webui.studio.downloads import Downloads


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    write_tiny_checkpoint(folder / "someone" / "tiny")
    return folder


@pytest.fixture
def hub(repositories: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(repositories) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_a_download_is_followed_cancelled_and_goes_on(hub: Hub, tmp_path: Path):
    weights = "unet/diffusion_pytorch_model.safetensors"
    hub.stalls_at[weights] = 50_000
    downloads = Downloads(tmp_path)
    downloads.start("someone/tiny")
    assert downloads.state.running
    with pytest.raises(AppError, match="someone/tiny is being downloaded"):
        downloads.start("someone/other")
    wait_until(lambda: downloads.state.total_bytes > 0 and weights in dict(hub.asked))
    downloads.cancel()
    wait_until(lambda: not downloads.state.running)
    assert downloads.state.cancelled and downloads.state.problem is None
    assert not (tmp_path / "tiny").exists()
    downloads.start("someone/tiny")
    wait_until(lambda: not downloads.state.running)
    state = downloads.state
    assert state.name == "tiny" and state.done_bytes == state.total_bytes > 0
    assert (tmp_path / "tiny" / weights).is_file()
    with pytest.raises(BadField, match="already"):
        downloads.start("someone/tiny")


def test_why_there_is_no_model_is_told(hub: Hub, tmp_path: Path):
    downloads = Downloads(tmp_path)
    with pytest.raises(BadField, match="no id"):
        downloads.start("../outside")
    downloads.start("someone/nothing")
    wait_until(lambda: not downloads.state.running)
    assert "no model someone/nothing" in downloads.state.problem
    assert list(tmp_path.iterdir()) == []
