"""Many embeddings one after another: which were made before, who makes which, what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from webui.errors import AppError, BadField
from webui.job_state import JobState
from webui.training.dataset import ReadPicture, read_picture, read_pictures
from webui.training.request import TrainingRequest
from webui.training.runs.run_folder import Run, list_runs
from webui.training.runs.run_state import RunSnapshot

Item = TypeVar("Item")


@dataclass(frozen=True)
class Result:
    """What came of one job."""

    name: str
    state: JobState
    before: bool = False
    """Whether it was finished before, so that nothing had to be done."""
    file: Path | None = None
    """The embedding."""
    lora: Path | None = None
    """The LoRA, if one was learned too."""
    step: int | None = None
    gain: float | None = None
    """Gain over the initializer on fixed inputs, 1 = no error left."""
    error: float | None = None
    """Standard error of the gain."""
    editability: float | None = None
    verdict: str = ""
    seconds: float | None = None
    problem: str = ""
    parts: tuple[Result, ...] = ()
    """Of a job with several names what came of each."""

    @property
    def each(self) -> tuple[Result, ...]:
        """What came of each of its names."""
        return self.parts or (self,)

    @property
    def good(self) -> bool:
        """Whether there is an embedding now."""
        return self.state is JobState.FINISHED


def result_of(view: RunSnapshot, before: bool = False) -> Result:
    """Return what came of a run; ``before`` if nothing had to be done for it now."""
    report = view.report
    if report is None or view.state is not JobState.FINISHED:
        return Result(view.name, view.state, problem=view.problem or view.message)
    files = {each.name: Path(each.path) for each in view.installed}
    each = tuple(
        Result(
            name=name,
            state=view.state,
            before=before,
            file=files.get(name),
            lora=Path(view.lora.path) if view.lora else None,
            step=found.step,
            gain=found.score.gain,
            error=found.score.error,
            editability=found.editability,
            verdict=found.verdict,
            seconds=found.seconds,
        )
        for name, found in zip(view.record.names, report.each, strict=True)
    )
    return each[0] if len(each) == 1 else replace(each[0], name=view.name, parts=each)


def earlier_run(
    root: Path, request: TrainingRequest, model_hash: str, read: ReadPicture = read_picture
) -> Run | None:
    """Return the latest run below ``root`` that was asked for just the same, or None.

    The same are name, initializer, recipe, model and the pictures' bytes.
    """
    try:
        pictures = read_pictures(request.pictures, read, request.names)
    except AppError:
        return None  # what is wrong with the pictures is told when the run is asked for
    for run in list_runs(root):
        try:
            record = run.record()
        except AppError:
            continue
        if (
            record.concepts == request.concepts
            and record.recipe == request.recipe
            and record.model_hash == model_hash
            and [(record.concept_of(file), digest) for file, digest in record.data]
            == [(picture.concept, picture.sha256) for picture in pictures]
        ):
            return run
    return None


def share_of(items: Sequence[Item], environment: Mapping[str, str]) -> Sequence[Item]:
    """Return the part that this process takes: every WORLD_SIZE-th, from RANK on.

    ``accelerate launch`` and ``torchrun`` set both; without them it is all.
    """
    try:
        rank, world = int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1))
    except ValueError:
        raise BadField("RANK", "RANK and WORLD_SIZE in the environment must be numbers.") from None
    if not 0 <= rank < world:
        raise BadField("RANK", f"RANK is {rank}, but WORLD_SIZE is {world}.")
    return items[rank::world]


def table(results: Iterable[Result]) -> str:
    """Return the results as lines for a terminal."""
    names = ("name", "state", "step", "gain", "editable", "verdict", "seconds", "file")
    return aligned([names, *(_cells(each) for result in results for each in result.each)])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines whose columns stand below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(result: Result) -> tuple[str, ...]:
    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    gain = "" if result.gain is None else f"{result.gain:.1%} ± {result.error:.1%}"
    said = " ".join(result.problem.split())
    return (
        result.name,
        f"{result.state} before" if result.before else result.state,
        shown(result.step, "d"),
        gain,
        shown(result.editability, ".2f"),
        result.verdict,
        shown(result.seconds, ".0f"),
        said or str(result.file or ""),
    )
