"""Training jobs as files say them: TOML or JSON, in our own keys or those of Kohya's scripts."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webui.errors import AppError, BadField
from webui.training.jobs.job import ASKED, Job
from webui.training.jobs.kohya import is_kohya, translated, with_dataset
from webui.training.recipe import SETTINGS, by_current_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def job_of(values: Mapping[str, Any], folder: Path) -> Job:
    """Build a job from a file's values; relative paths in it start at ``folder``.

    Raises BadField with the key that is unknown or holds something it cannot hold.
    """
    notes: tuple[str, ...] = ()
    if is_kohya(values):
        if values.get("dataset_config"):
            dataset = folder / Path(str(values["dataset_config"])).expanduser()
            values = with_dataset(values, _read(dataset), dataset.resolve().parent)
        values, notes = translated(values)
    asked: dict[str, Any] = {"notes": notes}
    recipe: dict[str, Any] = {}
    for key, value in by_current_names({**ASKED, **SETTINGS}, values).items():
        if key in SETTINGS:
            recipe[key] = value
            if key == "continue_from" and isinstance(value, str) and (folder / value).is_file():
                recipe[key] = str((folder / value).resolve())
        elif key in ASKED:
            inner = ASKED[key].type is Path and isinstance(value, str)
            asked[key] = (folder / Path(value).expanduser()).resolve() if inner else value
        else:
            raise BadField(key, f"There is no setting “{key}”.{_nearest(key)}")
    job = Job(recipe=recipe, **asked)
    job.recipe_for("sd1")
    return job


def read_job(path: Path) -> Job:
    """Read a file that describes one job. Raises AppError that names the file and the key."""
    return _named(path, _read(path), path.name)


def read_jobs(path: Path) -> list[Job]:
    """Read a file that describes many: a list, or a table ``defaults`` and a list ``jobs``.

    A job's own values come before the defaults. Raises AppError that names file, job and key.
    """
    values = _read(path)
    if isinstance(values, list):
        values = {"jobs": values}
    if not isinstance(values, Mapping):
        raise AppError(f"{path.name} must hold a list of jobs.")
    for key in values:
        if key not in ("defaults", "jobs"):
            raise BadField(key, f"{path.name}: “{key}” is neither “defaults” nor “jobs”.")
    found, shared = values.get("jobs"), values.get("defaults", {})
    if not isinstance(found, list) or not found:
        raise BadField("jobs", f"{path.name} holds no jobs. In TOML each begins with [[jobs]].")
    if not isinstance(shared, Mapping):
        raise BadField("defaults", f"{path.name}: “defaults” must be a table of settings.")
    jobs = [
        _named(path, {**shared, **item} if isinstance(item, Mapping) else item, f"job {number}")
        for number, item in enumerate(found, start=1)
    ]
    names = [job.name.lower() for job in jobs]
    for number, name in enumerate(names, start=1):
        if not name:
            raise BadField("name", f"{path.name}, job {number}: give it a name.")
        if name in names[: number - 1]:
            raise BadField("name", f"{path.name}: two jobs are called “{jobs[number - 1].name}”.")
    return jobs


def _named(path: Path, values: Any, where: str) -> Job:
    """Build one job of a file, with errors that say where in it they are."""
    place = path.name if where == path.name else f"{path.name}, {where}"
    if not isinstance(values, Mapping):
        raise AppError(f"{place} must be a table of settings, such as name = …, data = ….")
    try:
        return job_of(values, path.resolve().parent)
    except BadField as problem:
        raise BadField(problem.field, f"{place}, {problem.field}: {problem}") from None


def _read(path: Path) -> Any:
    """Read JSON from files that end so, else TOML."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise AppError(f"The file {path} cannot be read.") from problem
    kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        return json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        raise AppError(f"{path.name} is no {kind}: {problem}") from problem


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, (*ASKED, *SETTINGS), n=1)
    return f" Did you mean “{near[0]}”?" if near else ""
