"""Downloads of models: one at a time, in a process of its own.

The app's own process is kept from the network for as long as it runs, so another one fetches.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webui.errors import AppError
from webui.models.download import check_id, place_for
from webui.settings import ROOT

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DownloadState:
    """How the download stands that was asked for last."""

    version: int = 0
    """Grows with each change."""
    repo_id: str = ""
    running: bool = False
    done_bytes: int = 0
    total_bytes: int = 0
    """0 until it is known."""
    name: str | None = None
    """The model that is there now; None before, and after a failure."""
    problem: str | None = None
    """Why there is none."""
    cancelled: bool = False


class Downloads:
    """Starts, watches and cancels the download; every page sees the same one."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._state = DownloadState()
        self._process: subprocess.Popen[str] | None = None

    @property
    def state(self) -> DownloadState:
        """The download as it stands now."""
        return self._state

    def start(self, text: str) -> None:
        """Start to download a model by its id ``owner/name``.

        Raises BadField for what is no id or is here already, AppError if another one is running.
        """
        repo_id = check_id(text)
        place_for(repo_id, self._models)
        with self._lock:
            if self._state.running:
                raise AppError(f"{self._state.repo_id} is being downloaded; wait or cancel it.")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "webui", "download", repo_id, "--json",
                 "--models-dir", str(self._models)],
                cwd=ROOT,
                env=os.environ | {"PYTHONIOENCODING": "utf-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )  # fmt: skip
            self._state = DownloadState(self._state.version + 1, repo_id, running=True)
            threading.Thread(
                target=self._follow, args=(self._process,), name="download", daemon=True
            ).start()

    def cancel(self) -> None:
        """End the download; what has come stays, and the same download goes on with it."""
        with self._lock:
            if self._state.running and self._process:
                self._set(cancelled=True)
                self._process.terminate()

    def close(self) -> None:
        """Cancel, and wait until the process has ended."""
        self.cancel()
        if self._process:
            self._process.wait(10)

    def _follow(self, process: subprocess.Popen[str]) -> None:
        """Read what the process says until it ends."""
        with process:
            for line in process.stdout or ():
                if said := _read(line):
                    with self._lock:
                        self._hear(said)
                elif line.strip():
                    log.warning("download: %s", line.rstrip())
        with self._lock:
            state = self._state
            known = state.name or state.problem or state.cancelled
            if not known:
                self._set(problem="The download ended unexpectedly; the log says more.")
            self._set(running=False)

    def _hear(self, said: dict[str, Any]) -> None:
        if "name" in said:
            self._set(name=said["name"])
        elif "problem" in said:
            self._set(problem=said["problem"])
        elif "total" in said:
            self._set(done_bytes=said["done"], total_bytes=said["total"])

    def _set(self, **changes: Any) -> None:
        self._state = replace(self._state, version=self._state.version + 1, **changes)


def _read(line: str) -> dict[str, Any] | None:
    """Return what a line of JSON says; None for other lines."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
