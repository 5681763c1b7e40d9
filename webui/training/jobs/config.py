"""Training jobs as files say them: TOML or JSON, in our own keys or those of Kohya's scripts."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from webui.errors import AppError, BadField
from webui.training.jobs.kohya import is_kohya, translated
from webui.training.recipe import PRESETS, Recipe, preset

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Job:
    """One embedding to be trained, before model and pictures are looked at."""

    name: str = ""
    """What will be written in prompts."""
    data: Path | None = None
    """Folder of pictures."""
    initializer: str = ""
    preset: str = "object"
    """A key of ``PRESETS``; its settings hold unless ``recipe`` says otherwise."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``Recipe``."""
    overwrite: bool = False
    tensorboard: bool = False
    """Whether the run's numbers are also written for TensorBoard."""
    model: str | None = None
    """Name below the models folder; None = as the app chooses."""
    models_dir: Path | None = None
    embeddings_dir: Path | None = None
    outputs_dir: Path | None = None
    """Folders in place of the app's."""
    device: str | None = None
    notes: tuple[str, ...] = ()
    """What to tell the person about settings that were not taken over."""

    def recipe_for(self, family: str) -> Recipe:
        """Return the whole recipe for a model family; raises BadField for values out of range."""
        return replace(preset(self.preset, family), **self.recipe)


_FOLDERS = ("data", "models_dir", "embeddings_dir", "outputs_dir")
_WORDS = ("name", "initializer", "preset", "model", "device")
_RECIPE = Recipe()
_RECIPE_KEYS = tuple(item.name for item in fields(Recipe))
_OTHER_NAMES = {"init": "initializer"}
_SWITCHES = ("overwrite", "tensorboard")
KEYS = (*_WORDS, *_FOLDERS, *_SWITCHES, *_RECIPE_KEYS)
"""All that a file of our own can say."""


def job_of(values: Mapping[str, Any], folder: Path) -> Job:
    """Build a job from a file's values; relative paths in it start at ``folder``.

    Raises BadField with the key that is unknown or holds something it cannot hold.
    """
    notes: tuple[str, ...] = ()
    if is_kohya(values):
        values, notes = translated(values)
    asked: dict[str, Any] = {"notes": notes}
    recipe: dict[str, Any] = {}
    for key, value in values.items():
        name = _OTHER_NAMES.get(key, key)
        if name in _RECIPE_KEYS:
            recipe[name] = _setting(name, value)
        elif name in _FOLDERS:
            asked[name] = (folder / Path(_text(name, value)).expanduser()).resolve()
        elif name in _WORDS:
            asked[name] = _text(name, value)
        elif name in _SWITCHES:
            asked[name] = _switch(name, value)
        else:
            raise BadField(key, f"There is no setting “{key}”.{_nearest(key)}")
    if asked.get("preset", "object") not in PRESETS:
        raise BadField("preset", f"There is no preset “{asked['preset']}”; {_choices(PRESETS)}")
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
        raise BadField(problem.field, f"{place}: {problem}") from None


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


def _setting(key: str, value: Any) -> Any:
    """Return a recipe's value as the recipe holds it; ranges are the recipe's own affair."""
    usual = getattr(_RECIPE, key)
    if key == "rate":
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise BadField(key, f"“{key}” is {value!r}; it must be a number or “0.005:100, 0.001”.")
        return str(value)
    if isinstance(usual, bool):
        return _switch(key, value)
    if isinstance(usual, int | float):
        whole = isinstance(usual, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise BadField(key, f"“{key}” is {value!r}; it must be a {'whole ' * whole}number.")
        return value
    if isinstance(usual, str):
        return _text(key, value)
    kinds = str if key != "places" else int | float
    if not isinstance(value, list) or not all(isinstance(item, kinds) for item in value):
        raise BadField(key, f"“{key}” is {value!r}; it must be a list.")
    return tuple(value)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadField(key, f"“{key}” is {value!r}; it must be text in quotation marks.")
    return value


def _switch(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadField(key, f"“{key}” is {value!r}; it must be true or false.")
    return value


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, KEYS, n=1)
    return f" Did you mean “{near[0]}”?" if near else ""


def _choices(names: Mapping[str, Any]) -> str:
    return f"there are {', '.join(names)}."
