"""The training runs there are, as they are known in memory: looked up, changed, and shown."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

from webui.errors import AppError
from webui.training.runs.run_folder import Status, list_runs
from webui.training.runs.run_state import RUNNING, RunSnapshot, RunState, RunSummary

log = logging.getLogger(__name__)


class WatchedRuns:
    """All runs below a folder, and which of them is shown.

    Whoever looks at runs or changes them holds ``changed``, which may be entered again.
    """

    def __init__(self, folder: Path) -> None:
        self.changed = threading.Condition()
        self.latest: str | None = None
        """The run last asked for."""
        self._folder = folder
        self._known: dict[str, RunState] = {}

    def get(self, run_id: str) -> RunState:
        """Return a run, read from its folder at first; AppError if there is none of this id."""
        if run_id not in self._known:
            run = next((run for run in list_runs(self._folder) if run.run_id == run_id), None)
            if run is None:
                raise AppError(f"There is no training run “{run_id}”.")
            watched = RunState(run)
            if watched.status.state in ("queued", *RUNNING):
                message = "The app was closed during this run; resume it to go on."
                watched.status = replace(watched.status, state="paused", message=message)
            self._known[run_id] = watched
        return self._known[run_id]

    def running(self) -> list[RunState]:
        """Return the runs that a thread works on."""
        return [watched for watched in self._known.values() if watched.status.state in RUNNING]

    def coming(self) -> set[str]:
        """Return the names of the embeddings that runs will make, waiting ones too."""
        states = ("queued", *RUNNING)
        with self.changed:
            known = self._known.values()
            return {watched.record.name for watched in known if watched.status.state in states}

    def set(self, watched: RunState, status: Status) -> None:
        """Change how a run stands, in memory and on the disk."""
        watched.status = status
        if status.state not in RUNNING:
            watched.eta_s = watched.steps_per_s = None
        self.touch(watched)
        try:
            watched.run.set_status(status)
        except OSError as problem:
            log.error("the state of %s could not be written: %s", watched.run.run_id, problem)

    def touch(self, watched: RunState) -> None:
        """Count a change, and wake whoever waits for one."""
        watched.touch()
        self.changed.notify_all()

    def view(self, run_id: str | None = None) -> RunSnapshot | None:
        """Return how a run stands, or the current or latest one; None if there is none."""
        with self.changed:
            chosen = run_id or self._current()
            return None if chosen is None else self.get(chosen).view()

    def _current(self) -> str | None:
        """The run that is going on, else the one last asked for, else the latest on the disk."""
        for watched in self.running():
            return watched.run.run_id
        if self.latest is None:
            found = list_runs(self._folder)
            return found[0].run_id if found else None
        return self.latest

    def summaries(self) -> list[RunSummary]:
        """Return all runs, the latest first; folders that cannot be read are left out."""
        summaries = []
        for run in list_runs(self._folder):
            try:
                with self.changed:
                    summaries.append(self.get(run.run_id).summary())
            except AppError as problem:
                log.warning("skipped a run: %s", problem)
        return summaries
