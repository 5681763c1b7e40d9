"""The app ends when it is told to, whatever is open."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.parts import free_port
from webui.settings import ROOT


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
        app.wait(60)
        assert time.monotonic() - begun < 3
        assert app.returncode == 0
    app.stdout.close()
