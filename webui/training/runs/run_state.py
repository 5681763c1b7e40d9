"""How runs stand, and what people see of them: from their events, live or from the disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from webui.errors import AppError
from webui.job_state import JobState
from webui.training.recipe import last_step
from webui.training.runs.report import Report
from webui.training.runs.run_folder import (
    InstalledFile,
    Record,
    Run,
    Status,
    discard,
    list_runs,
    restore,
)

log = logging.getLogger(__name__)

Order = Literal["pause", "keep", "discard"]
"""What a person wants done with a run that is going on."""
LONGEST_LOG = 200
"""Lines of the log that are shown."""
LONGEST_CURVE = 300
"""Points of a curve that is shown; longer ones are thinned."""


@dataclass(frozen=True)
class Phase:
    """Something that a run does before its steps or after them."""

    name: str
    done: int
    total: int


@dataclass(frozen=True)
class RunSnapshot:
    """A run at one moment, for pages; never changed, replaced with a higher version."""

    version: int
    run_id: str
    name: str
    record: Record
    """What was asked for: recipe, model, data and when."""
    state: JobState
    created: str
    """Local time, ISO 8601."""
    step: int
    steps: int
    losses: tuple[tuple[int, float], ...]
    """(step, mean error on fixed inputs), at most 300 points."""
    gains: tuple[tuple[int, float], ...]
    """(step, gain over the initializer on the same inputs), at most 300 points.

    It begins at 0 with the initializer's own words, as the previews do, and has the report's
    figure for the step that was measured again at the end; of several names it is that of all
    together.
    """
    best: int
    """The step that has measured best so far over all names."""
    kept: tuple[int, ...]
    """The step whose vectors are kept of each name if the run ends now."""
    raw_losses: tuple[tuple[int, float], ...]
    """(step, error of the step's own draws), thinned to at most 300 means."""
    previews: tuple[tuple[int, str, Path], ...]
    """(step, prompt, picture); step 0 shows the initializer."""
    rate: float | None
    norm_ratio: float | None
    eta_s: float | None
    steps_per_s: float | None
    message: str
    problem: str | None
    report: Report | None
    installed: tuple[InstalledFile, ...]
    """The embedding files that it led to, in the order of its names."""
    lora: InstalledFile | None
    """The LoRA file that it led to, if it learned one."""
    phases: tuple[Phase, ...]
    """What it has done beside its steps since it was started or resumed, the latest last."""
    checkpoints: tuple[int, ...]
    """Steps that can be installed."""
    log: tuple[str, ...]
    """What happened beside the steps, in words, the newest last; at most 200 lines."""

    @property
    def file(self) -> Path | None:
        """The embedding file that it led to, the first of several."""
        return Path(self.installed[0].path) if self.installed else None

    @property
    def installed_step(self) -> int | None:
        """The step whose vectors are in the files of all names, if it is one."""
        steps = {each.step for each in self.installed}
        return steps.pop() if len(steps) == 1 else None


class Curves:
    """The points of a run's curves, brought up to date event by event."""

    def __init__(self, events: Iterable[Mapping[str, Any]] = (), continued: bool = False) -> None:
        """``continued`` tells that the run began with an embedding, not with its initializer."""
        self.continued = continued
        self.step = 0
        self.rate: float | None = None
        self.norm_ratio: float | None = None
        self.raw: list[tuple[int, float]] = []
        self.losses: list[tuple[int, float]] = []
        self.gains: list[tuple[int, float]] = []
        self.best: list[int] = []
        self.kept: list[tuple[int, tuple[int, ...]]] = []
        self.previews: list[tuple[int, str, str]] = []
        self.log: list[str] = []
        for event in events:
            self.apply(event)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in one event of the log; kinds that draw no curve are passed over."""
        kind, step = event.get("kind"), int(event.get("step", 0))
        if kind == "evaluation" and not step and not self.continued:
            # there is nothing but the initializer yet, however its vectors were repeated and scaled
            event = {**event, "loss": event["loss"] / (1 - event["gain"]), "gain": 0.0}
        if said := in_words(event):
            self.log.append(said)
        if kind == "step":
            self.step, self.rate = step, event["rate"]
            self.norm_ratio = event["norm_ratio"]
            self.raw.append((step, event["loss"]))
        elif kind == "evaluation":
            self.losses.append((step, event["loss"]))
            self.gains.append((step, event["gain"]))
            if event["best"]:
                self.best.append(step)
            if "kept" in event:  # runs of earlier versions kept one step for all names
                self.kept.append((step, tuple(event["kept"])))
        elif kind == "preview":
            self.previews.append((step, event["prompt"], event["file"]))
        elif kind in ("resumed", "rolled_back"):
            self._go_back(int(event["to_step"]))

    def _go_back(self, step: int) -> None:
        self.step = step
        for curve in (self.raw, self.losses, self.gains):
            curve[:] = [point for point in curve if point[0] <= step]
        self.best[:] = [at for at in self.best if at <= step]
        self.kept[:] = [(at, steps) for at, steps in self.kept if at <= step]
        self.previews[:] = [item for item in self.previews if item[0] <= step]


class RunState:
    """A run as it is known in memory; whoever changes it holds the lock of its ``RunStates``."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.record = run.record()
        self.curves = Curves(run.events(), bool(self.record.recipe.continue_from))
        self.status = run.status()
        self.version = 1
        self.eta_s: float | None = None
        self.steps_per_s: float | None = None
        self.order: Order | None = None
        self.phases: tuple[Phase, ...] = ()
        self._view: RunSnapshot | None = None

    def touch(self) -> None:
        """Count a change."""
        self.version += 1
        self._view = None

    def view(self) -> RunSnapshot:
        """Return the run as it stands; the same object until something changes."""
        if self._view is None:
            self._view = self._make_view()
        return self._view

    def _make_view(self) -> RunSnapshot:
        run, curves, status = self.run, self.curves, self.status
        found = run.read_report()
        report = Report.from_dict(found) if found else None
        alone = report and not report.others
        best = curves.best[-1] if curves.best else 0
        measured = {report.step: report.score.gain} if report and alone else {}
        gains = [(step, measured.get(step, gain) if step else gain) for step, gain in curves.gains]
        return RunSnapshot(
            version=self.version,
            run_id=run.run_id,
            name=self.record.name,
            state=status.state,
            record=self.record,
            created=self.record.created,
            step=curves.step,
            steps=last_step(self.record.recipe),
            losses=thinned(curves.losses),
            gains=thinned(gains),
            best=best,
            kept=curves.kept[-1][1] if curves.kept else (best,) * len(self.record.names),
            raw_losses=thinned(curves.raw),
            previews=tuple(
                (step, prompt, run.folder / "previews" / file)
                for step, prompt, file in curves.previews
            ),
            rate=curves.rate,
            norm_ratio=curves.norm_ratio,
            eta_s=self.eta_s,
            steps_per_s=self.steps_per_s,
            message=status.message,
            problem=status.problem,
            report=report,
            installed=status.installed,
            lora=status.lora,
            phases=self.phases,
            checkpoints=run.checkpoints(),
            log=tuple(curves.log[-LONGEST_LOG:]),
        )


class RunStates:
    """All runs below a folder, and which of them is shown.

    Whoever looks at runs or changes them holds ``changed``, which may be entered again.
    """

    def __init__(self, folder: Path) -> None:
        self.changed = threading.Condition()
        self.version = 0
        """Grows with each change."""
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
            state = RunState(run)
            if not state.status.state.ended:
                try:
                    with run.claim():
                        pass
                except AppError as problem:  # it is read anew until that program has ended
                    state.status = replace(state.status, message=str(problem))
                    return state
                message = "The app was closed during this run; resume it to go on."
                state.status = replace(state.status, state=JobState.PAUSED, message=message)
            self._known[run_id] = state
        return self._known[run_id]

    def own(self, run_id: str) -> RunState:
        """Return a run that may be changed; AppError if another program works on it."""
        state = self.get(run_id)
        if run_id not in self._known:
            raise AppError(state.status.message)
        return state

    def discard(self, run_id: str) -> None:
        """Move a run that has ended to the trash; AppError for others."""
        with self.changed:
            state = self.own(run_id).status.state
            if not state.ended:
                raise AppError(f"The run is {state}; pause or cancel it first.")
            discard(self._folder, run_id)
            del self._known[run_id]
            self.latest = None if self.latest == run_id else self.latest
            self.version += 1

    def restore(self, run_id: str) -> None:
        """Move a run back from the trash; AppError if it is not there."""
        with self.changed:
            restore(self._folder, run_id)
            self.version += 1

    def running(self) -> list[RunState]:
        """Return the runs that a thread works on."""
        return [state for state in self._known.values() if state.status.state.running]

    def coming(self) -> set[str]:
        """Return the names of the embeddings that runs will make, waiting ones too."""
        with self.changed:
            known = self._known.values()
            return {
                name
                for state in known
                if not state.status.state.ended
                for name in state.record.names
            }

    def set(self, state: RunState, status: Status) -> None:
        """Change how a run stands, in memory and on the disk."""
        state.status = status
        if not status.state.running:
            state.eta_s = state.steps_per_s = None
        self.touch(state)
        try:
            state.run.set_status(status)
        except OSError as problem:
            log.error("the state of %s could not be written: %s", state.run.run_id, problem)

    def say(self, state: RunState, now: JobState, message: str) -> None:
        """Change a run's state and message; what it has installed stays."""
        self.set(state, replace(state.status, state=now, message=message, problem=None))

    def touch(self, state: RunState) -> None:
        """Count a change, and wake whoever waits for one."""
        state.touch()
        self.version += 1
        self.changed.notify_all()

    def view(self, run_id: str) -> RunSnapshot:
        """Return how a run stands; AppError if there is none of this id."""
        with self.changed:
            return self.get(run_id).view()

    def current(self) -> RunSnapshot | None:
        """Return the run that is going on, else the one last asked for, else the latest there is.

        None if there is none.
        """
        with self.changed:
            for state in self.running():
                return state.view()
            if self.latest is not None:
                return self.view(self.latest)
            found = list_runs(self._folder)
            return self.view(found[0].run_id) if found else None

    def views(self) -> list[RunSnapshot]:
        """Return all runs, the latest first; folders that cannot be read are left out."""
        views = []
        for run in list_runs(self._folder):
            try:
                with self.changed:
                    views.append(self.get(run.run_id).view())
            except AppError as problem:
                log.warning("skipped a run: %s", problem)
        return views


def in_words(event: Mapping[str, Any]) -> str:
    """Return an event of the log as a line for people; "" for those that are too many to read."""
    step = event.get("step", 0)
    match event.get("kind"):
        case "evaluation":
            kept = ", kept so far" if event["best"] and step else ""
            return f"Step {step}: gain {event['gain']:.1%}{kept}"
        case "rolled_back":
            return f"Step {step}: {event['reason']}; back to step {event['to_step']}"
        case "resumed":
            return f"Resumed at step {event['to_step']}"
        case "note":
            return f"Step {step}: {event['text']}"
        case "ended":
            return f"Step {step}: ended, {event['reason']}"
    return ""


def thinned(
    points: Sequence[tuple[int, float]], longest: int = LONGEST_CURVE
) -> tuple[tuple[int, float], ...]:
    """Return at most ``longest`` points, each the mean of those it stands for."""
    size = -(-len(points) // longest) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return tuple((group[-1][0], sum(value for _, value in group) / len(group)) for group in groups)
