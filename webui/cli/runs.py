"""``runs``: the training runs there are; one resumed, installed, deleted or brought back."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any

from webui.cli.jobs import follow, opened
from webui.cli.training import PLACE, add_place, settings_of
from webui.errors import AppError, BadField
from webui.settings import Settings
from webui.training.jobs.job import Job
from webui.training.jobs.many import aligned
from webui.training.runs.run_state import RunSnapshot, RunStates

ACTIONS = ("list", "resume", "install", "delete", "restore")


def add(commands: Any) -> None:
    """Add the command to argparse's ``commands``."""
    runs = commands.add_parser("runs", help="list training runs; resume, install or delete one")
    runs.set_defaults(run=_runs)
    runs.add_argument("action", nargs="?", choices=ACTIONS, default="list")
    runs.add_argument("run_id", nargs="?", metavar="RUN", help="its id, as the list shows it")
    runs.add_argument("--step", type=int, help="which step to install; default: the best")
    add_place(runs)


def _runs(flags: argparse.Namespace) -> None:
    settings = settings_of([Job(**{key: getattr(flags, key) for key in PLACE[1:]})], flags)
    states = RunStates(settings.outputs_dir / "train")
    if flags.action == "list":
        print(_table(states.views()))
    elif not flags.run_id:
        raise BadField("run_id", f"Say which run to {flags.action}: runs {flags.action} RUN")
    elif flags.action == "delete":
        states.discard(flags.run_id)
        print(f"Moved to trash. Undo: runs restore {flags.run_id}")
    elif flags.action == "restore":
        states.restore(flags.run_id)
        print("Restored.")
    elif flags.action == "resume":
        _resume(settings, states.view(flags.run_id))
    else:
        print("\n".join(map(str, _install(settings, flags.run_id, flags.step))))


def _resume(settings: Settings, view: RunSnapshot) -> None:
    """Go on with a run on the model that it was begun with, and show how far it is."""
    with opened(settings) as studio:
        studio.models.switch(view.record.model_name)
        studio.training.resume(view.run_id)
        result = follow(studio, view.run_id)
    if not result.good:
        raise AppError(result.problem)
    print("\n".join(str(each.file) for each in result.each))


def _install(settings: Settings, run_id: str, step: int | None) -> list[Path]:
    with opened(settings) as studio:
        if step is None:
            return studio.training.install_best(run_id)
        return studio.training.install_step(run_id, step)


def _table(views: list[RunSnapshot]) -> str:
    """Return the runs as lines for a terminal, the latest first."""
    if not views:
        return "No runs yet."
    rows = [("run", "state", "step", "age", "file or message")]
    for view in views:
        told = view.problem or (str(view.file) if view.file else view.message)
        step = f"{view.step} of {view.steps}"
        rows.append((view.run_id, view.state, step, age(view.record.created), told))
    return aligned(rows)


def age(created: str, now: datetime | None = None) -> str:
    """Return how long ago a local time in ISO 8601 was, in its largest unit."""
    passed_s = ((now or datetime.now()) - datetime.fromisoformat(created)).total_seconds()
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if passed_s >= length_s:
            return f"{passed_s // length_s:.0f} {unit}"
    return "now"
