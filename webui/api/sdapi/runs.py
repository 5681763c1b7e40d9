"""All training runs: listed, paused, resumed, installed, deleted and brought back."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from webui.api.sdapi.answers import REFUSED, NotFound, Question, Shape
from webui.api.sdapi.training import RunItem, item_of
from webui.errors import AppError
from webui.job_state import JobState
from webui.studio.training.runs import TrainingRuns
from webui.training.runs.run_state import RunSnapshot


class RunLine(Shape):
    """A training run in the list of all."""

    run_id: str = Field(examples=["20260304-150607-my-mug"])
    name: str
    state: JobState
    step: int
    steps: int
    created: str
    """Local time, ISO 8601."""
    turn: int | None
    """Its place among the runs that wait, from 1; null for others."""
    message: str
    checkpoints: list[int]
    """Steps that can be installed."""
    preview: str | None
    """File of the newest preview."""
    filename: str | None
    """The embedding file it led to."""


class Install(Question):
    """Which step is to be the embedding's file."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"step": 250}]})

    step: int | None = None
    """One of the run's checkpoints; the best if it is left out."""
    name: str = ""
    """Of a run with several names the one whose file is written; all if it is left out."""


class Installed(Shape):
    """The embedding's file."""

    filename: str
    """The first, of several names."""
    filenames: list[str]


def add(router: APIRouter, runs: TrainingRuns) -> None:
    """Add the routes."""

    @router.get("/train/runs", summary="List all training runs, the latest first")
    def all_runs() -> list[RunLine]:
        queue = runs.queue()
        return [line_of(view, queue) for view in runs.runs()]

    @router.post(
        "/train/embedding/{run_id}/pause", responses=REFUSED, summary="Save a run and let it rest"
    )
    def pause(run_id: str) -> RunItem:
        _known(runs, run_id)
        runs.pause(run_id)
        return item_of(runs.view(run_id))

    @router.post(
        "/train/embedding/{run_id}/resume",
        responses=REFUSED,
        summary="Go on with a run that was paused, stopped or cut short",
    )
    def resume(run_id: str) -> RunItem:
        _known(runs, run_id)
        runs.resume(run_id)
        return item_of(runs.view(run_id))

    @router.post(
        "/train/embedding/{run_id}/install",
        responses=REFUSED,
        summary="Make a kept step of a run the embedding's file",
    )
    def install(run_id: str, body: Install) -> Installed:
        _known(runs, run_id)
        if body.step is None and not body.name:
            files = runs.install_best(run_id)
        else:
            step = runs.best_step(run_id, body.name) if body.step is None else body.step
            files = runs.install_step(run_id, step, body.name)
        return Installed(filename=str(files[0]), filenames=list(map(str, files)))

    @router.delete(
        "/train/embedding/{run_id}",
        responses=REFUSED,
        summary="Move a run that has ended to the trash",
    )
    def delete(run_id: str) -> dict[str, str]:
        _known(runs, run_id)
        runs.discard(run_id)
        return {}

    @router.post(
        "/train/embedding/{run_id}/restore",
        responses=REFUSED,
        summary="Bring a deleted run back from the trash",
    )
    def restore(run_id: str) -> RunItem:
        runs.restore(run_id)
        return item_of(runs.view(run_id))


def _known(runs: TrainingRuns, run_id: str) -> None:
    """Raise NotFound if there is no run of this id."""
    try:
        runs.view(run_id)
    except AppError as error:
        raise NotFound(str(error)) from error


def line_of(view: RunSnapshot, queue: tuple[str, ...]) -> RunLine:
    """Return a run as the list shows it; ``queue`` holds the ids of the runs that wait."""
    return RunLine(
        run_id=view.run_id,
        name=view.name,
        state=view.state,
        step=view.step,
        steps=view.steps,
        created=view.record.created,
        turn=queue.index(view.run_id) + 1 if view.run_id in queue else None,
        message=view.problem or view.message,
        checkpoints=list(view.checkpoints),
        preview=str(view.previews[-1][2]) if view.previews else None,
        filename=str(view.file) if view.file else None,
    )
