"""The app ends within three seconds when it is told to, whatever is open or going on."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Browser

from tests.api.conftest import picture_text
from tests.browser.conftest import App
from tests.parts import wait_until
from webui.job_state import JobState
from webui.settings import ROOT
from webui.training.runs.run_folder import list_runs

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MANY = 10_000
LONGEST_S = 3.0
"""Of processor time."""
MOST_IDLE_S = 30
"""On the wall, where the machine has other work."""
PATIENCE_S = 300
DRAWN = ("/sdapi/v1/txt2img", {"prompt": "a red heart", "steps": 150, "n_iter": 100})
TRAINED = (
    "/sdapi/v1/train/embedding",
    {"embedding_name": "my-toy", "init_text": "star", "steps": 5000, "create_image_every": 0,
     "pictures": [picture_text((160, 160)) for _ in range(3)]},
)  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an app with many embeddings, as it is after the first start."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "embeddings").mkdir()
    for number in range(MANY):
        copy = folder / "embeddings" / f"name-{number}.safetensors"
        shutil.copyfile(ROOT / "embeddings" / "toadstool.safetensors", copy)
    return folder


@pytest.mark.parametrize(
    ("work", "number"),
    [(None, signal.SIGINT), (DRAWN, signal.SIGTERM), (TRAINED, signal.SIGINT)],
    ids=["nothing", "drawing", "training"],
)
def test_it_ends_with_a_page_open(
    chromium: Browser,
    start_app: Callable[..., App],
    full: Path,
    work: tuple[str, dict[str, Any]] | None,
    number: signal.Signals,
):
    app = start_app(folder=full)
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(app.url)
        page.wait_for_function(
            "count => (window.embeddingCards || []).length >= count",
            arg=MANY,
            timeout=1000 * PATIENCE_S,
        )
        if work:
            begin(app, *work)
        ended_before_s, lived_s = ended_s(), sum(psutil.Process(app.process.pid).cpu_times()[:4])
        app.process.send_signal(number)
        app.process.wait(MOST_IDLE_S)
    assert app.process.returncode == 0
    assert ended_s() - ended_before_s - lived_s < LONGEST_S
    for run in list_runs(app.outputs / "train"):  # a run that was begun is saved
        assert run.status().state is JobState.PAUSED and run.read_state()


def begin(app: App, route: str, body: dict[str, Any]) -> None:
    """Ask for something that takes long, and wait until it goes on."""

    def ask() -> None:
        with suppress(httpx.HTTPError):  # the app ends meanwhile
            httpx.post(app.url + route, json=body, timeout=PATIENCE_S)

    def step() -> int:
        told = httpx.get(app.url + "/sdapi/v1/progress", timeout=PATIENCE_S).json()
        return int(told["state"]["sampling_step"])

    threading.Thread(target=ask, daemon=True).start()
    wait_until(lambda: step() >= 2, PATIENCE_S)


def ended_s() -> float:
    """Return the processor time of the programs that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system
