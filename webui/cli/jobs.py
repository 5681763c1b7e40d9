"""Training jobs carried out in a terminal, each with its progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from webui.archives import as_folder
from webui.errors import AppError, BadField
from webui.job_state import JobState
from webui.settings import Settings
from webui.studio.studio import Studio
from webui.training.dataset import TAKEN, find_pictures
from webui.training.jobs.job import Job
from webui.training.jobs.many import Result, aligned, earlier_run, result_of
from webui.training.learned.concepts import names_in
from webui.training.recipe import Recipe
from webui.training.request import TrainingRequest


@contextmanager
def opened(settings: Settings) -> Iterator[Studio]:
    """Open a studio for the terminal, and close it whatever happens; runs are saved then."""
    studio = Studio(settings)
    studio.open()
    try:
        yield studio
    except KeyboardInterrupt:
        raise SystemExit(
            "Paused; the same command goes on with it, and so does the Train tab."
        ) from None
    finally:
        studio.close()


def attempt(studio: Studio, job: Job) -> Result:
    """Carry a job out; what a person can mend becomes a failed result."""
    try:
        return carry_out(studio, job)
    except AppError as problem:
        return Result(job.name, JobState.FAILED, problem=str(problem))


def carry_out(studio: Studio, job: Job, again: bool = False) -> Result:
    """Train a job to its end, from where an earlier run of the same job was cut short.

    One that was finished before is not trained again, unless ``again``. Raises AppError with
    everything that makes it impossible.
    """
    if job.data is None:
        raise BadField("data", f"{job.name or 'A run'} needs a folder of images.")
    studio.models.switch(job.model)
    recipe = job.recipe_for(studio.models.get().family)
    with as_folder(job.data, TAKEN) as folder:
        return _carried_out(studio, job, recipe, folder, again)


def _carried_out(studio: Studio, job: Job, recipe: Recipe, folder: Path, again: bool) -> Result:
    """Carry out a job whose images lie in a folder."""
    model = studio.models.get()
    pictures, skipped = find_pictures(folder, names_in(job.name))
    if skipped:
        print(f"note: {job.name}: skipped {', '.join(path.name for path in skipped)}")
    request = TrainingRequest(job.name, tuple(pictures), job.initializer, recipe, job.overwrite)
    runs = studio.training
    outputs = studio.settings.outputs_dir / "train"
    earlier = earlier_run(outputs, request, model.short_hash, runs.pictures.read)
    view = runs.view(earlier.run_id) if earlier else None
    if view and view.state.resumable:
        print(f"note: {job.name}: going on at step {view.step}")
        runs.resume(view.run_id)
        return follow(studio, view.run_id)
    if view and view.state is JobState.FINISHED and view.report and not again:
        if not view.installed or not all(Path(each.path).is_file() for each in view.installed):
            runs.install_best(view.run_id)
        return result_of(runs.view(view.run_id), before=True)
    if problems := runs.check(request):
        raise AppError("\n".join(text for _, text in problems))
    findings = runs.preflight(request)
    if recipe.preview_every:
        findings += runs.trials.drawable(recipe, request.pictures)
    for finding in findings:
        print(f"note: {finding.file or job.name}: {finding.message}")
    return follow(studio, runs.start(request))


def suggested(studio: Studio, job: Job) -> str:
    """Try words on a job's images with a bar, and return the best as lines."""
    names = names_in(job.name)
    studio.models.switch(job.model)
    recipe = job.recipe_for(studio.models.get().family)
    rows: list[tuple[str, ...]] = []
    with as_folder(job.data or Path(), TAKEN) as folder:
        pictures, _ = find_pictures(folder, names)
        with tqdm(unit="trial", desc="words", mininterval=0.2, disable=None) as bar:
            for trial in studio.training.trials.suggest(recipe, pictures, names):
                bar.total = trial.total
                bar.update(trial.done - bar.n)
                rows += [
                    (trial.name, each.word, f"{each.error:.4f}", f"{each.gain:+.1%}")
                    for each in trial.best
                ]
    told = f"{trial.tried} words were tried; the gain is how much less error than with no word."
    lines = [("name", "word", "error", "gain"), *rows]
    return f"{aligned(lines if len(names) > 1 else [line[1:] for line in lines])}\n{told}"


def follow(studio: Studio, run_id: str) -> Result:
    """Show a run's progress until it ends: a bar in a terminal, else a line for each message.

    Both go to the error stream, so that the output holds the result alone.
    """
    view = studio.training.view(run_id)
    if not sys.stderr.isatty():
        said = ""
        for view in studio.training.updates(run_id):
            if view.message and view.message != said:
                said = view.message
                line = f"{view.name}, step {view.step} of {view.steps}: {said}"
                print(line, file=sys.stderr, flush=True)
        return result_of(view)
    with tqdm(total=view.steps, unit="step", desc=view.name, mininterval=0.2) as bar:
        for view in studio.training.updates(run_id):
            doing = view.phases[-1].name if view.phases and not view.step else view.message
            bar.set_postfix_str(doing, refresh=False)
            bar.update(view.step - bar.n)
    return result_of(view)
