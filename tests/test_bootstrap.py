"""The app is served whole, and ends when it is told to, whatever is open."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.parts import free_port
from webui.bootstrap import launch, prepare_environment
from webui.settings import ROOT, Settings


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_with_connections_open_and_files_being_read(
    tmp_path: Path, number: signal.Signals
):
    folder = tmp_path / "embeddings"
    folder.mkdir()
    for index in range(3000):
        shutil.copyfile(ROOT / "embeddings/toadstool.safetensors", folder / f"e{index}.safetensors")
    port = free_port()
    app = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--embeddings-dir", str(folder),
         "--outputs-dir", str(tmp_path / "outputs"), "--styles-file", str(tmp_path / "s.csv")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert app.stdout is not None
    while "Running on" not in app.stdout.readline():
        assert app.poll() is None
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"GET /gradio_api/heartbeat/abc HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        app.send_signal(number)
        app.wait(180)
        assert time.monotonic() - begun < 15  # 1 s here; a machine may be busy
        assert app.returncode == 0
    app.stdout.close()


def test_the_routes_are_there_with_the_first_answer_of_the_server(tmp_path: Path):
    settings = Settings(
        models_dir=tmp_path / "models",
        embeddings_dirs=(tmp_path / "embeddings",),
        outputs_dir=tmp_path / "outputs",
        styles_file=tmp_path / "styles.csv",
    )
    port, ended = free_port(), threading.Event()
    answers: list[int] = []

    def ask_until_it_answers() -> None:
        while not ended.wait(0.001):
            try:
                asked = httpx.get(f"http://127.0.0.1:{port}/sdapi/v1/samplers", timeout=30)
            except httpx.TransportError:
                continue
            answers.append(asked.status_code)

    asking = threading.Thread(target=ask_until_it_answers)
    asking.start()
    try:
        studio, demo, _ = launch(replace(settings, port=port))
        try:
            while len(answers) < 3:
                ended.wait(0.01)
        finally:
            ended.set()
            demo.close()
            studio.close()
    finally:
        ended.set()
        asking.join()
    assert set(answers) == {200}


def test_uploads_of_earlier_runs_and_versions_are_swept_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    settings = replace(Settings(), outputs_dir=tmp_path / "outputs")
    old, new = settings.uploads_dir / "a" / "old.png", settings.uploads_dir / "new.png"
    earlier = settings.cache_dir / "uploads" / "b" / "left.png"
    for path in (old, new, earlier):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    prepare_environment(settings)
    assert new.exists() and not old.exists() and not earlier.exists()
