"""``train``: learn one embedding, or many one after another."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_origin

from webui.cli.cluster import train_on_cluster
from webui.cli.jobs import attempt, carry_out, opened, suggested
from webui.errors import AppError, BadField
from webui.settings import Settings
from webui.training.dataset import HOW_MANY
from webui.training.jobs.config import read_job, read_jobs
from webui.training.jobs.job import ASKED, Job
from webui.training.jobs.many import Result, share_of, table
from webui.training.recipe import SETTINGS, Setting

PLACE = ("model", "models_dir", "embeddings_dir", "outputs_dir", "device")
"""Fields of a job that say where things are."""


def add(commands: Any) -> None:
    """Add the command to argparse's ``commands``."""
    train = commands.add_parser("train", help=f"learn an embedding from {HOW_MANY} images")
    train.set_defaults(run=_train)
    train.add_argument(
        "--config", type=Path, help="TOML or JSON with these settings and the recipe's, or Kohya's"
    )
    train.add_argument("--jobs", type=Path, help="TOML or JSON with many such settings")
    train.add_argument(
        "--suggest", action="store_true", help="only try words as initializers on the images"
    )
    train.add_argument("--ray", action="store_true", help="spread the jobs over a Ray cluster")
    train.add_argument("--workers", type=int, help="with --ray: how many at a time")
    add_flags(train, {name: item for name, item in ASKED.items() if name not in PLACE})
    add_place(train)
    recipe = train.add_argument_group("recipe", "in place of the preset's")
    add_flags(recipe, SETTINGS)


def add_flags(command: Any, settings: Mapping[str, Setting]) -> None:
    """Add a flag for each of these settings; those not given are None."""
    for name, setting in settings.items():
        said = setting.help.partition(". ")[0].replace("`", "").replace("%", "%%")
        form: dict[str, Any] = {"dest": name, "default": None, "help": said}
        if setting.type is bool:
            form["action"] = argparse.BooleanOptionalAction
        elif get_origin(setting.type) is tuple:
            form |= {"nargs": "*", "type": get_args(setting.type)[0]}
        elif setting.choices:
            form["choices"] = list(setting.choices)
        else:
            form["type"] = setting.type
        also = ("init",) if name == "initializer" else ()
        command.add_argument(*(f"--{each.replace('_', '-')}" for each in (name, *also)), **form)


def add_place(command: argparse.ArgumentParser) -> None:
    """Add the flags that say which model, which folders and which device."""
    add_flags(command, {name: ASKED[name] for name in PLACE})
    command.add_argument("--precision", default="auto", choices=("auto", "fp32", "fp16", "bf16"))


def _train(flags: argparse.Namespace) -> None:
    if flags.jobs and (flags.config or flags.name or flags.data):
        raise BadField("jobs", "Use --jobs without --config, --name and --data: the file has them.")
    if flags.ray and not flags.jobs:
        raise BadField("ray", "--ray spreads many jobs; name their file with --jobs.")
    found = (
        read_jobs(flags.jobs) if flags.jobs else [read_job(flags.config) if flags.config else Job()]
    )
    jobs = [with_flags(job, flags) for job in found]
    for job in jobs:
        for note in job.notes:
            print(f"note: {note}")
        for field in ("data",) if flags.suggest else ("name", "data", "initializer"):
            if not getattr(job, field):
                raise BadField(field, f"{job.name or 'A run'} needs “{field}” (--{field}).")
    settings = settings_of(jobs, flags)
    if flags.suggest:
        with opened(settings) as studio:
            for job in jobs:
                print(suggested(studio, job))
        return
    if not flags.jobs:
        _train_one(jobs[0], settings)
        return
    if flags.ray:
        results = train_on_cluster(jobs, settings, flags.workers)
    else:
        results = _train_many(share_of(jobs, os.environ), settings)
    print(table(results))
    if not all(result.good for result in results):
        raise SystemExit(1)


def with_flags(job: Job, flags: argparse.Namespace) -> Job:
    """Return the job with what the flags say in place of what its file says."""
    given = _given(flags, ASKED)
    recipe = {**job.recipe, **_given(flags, SETTINGS)}
    return replace(job, recipe=recipe, **given)


def _given(flags: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(flags, name)) is not None}


def settings_of(jobs: Sequence[Job], flags: argparse.Namespace) -> Settings:
    """Return the settings that all jobs share; BadField if they differ in a folder or device."""
    usual = Settings()
    shared: dict[str, Any] = {}
    for key in PLACE[1:]:
        values = {getattr(job, key) for job in jobs}
        if len(values) > 1:
            raise BadField(key, f"All jobs must have the same “{key}”; put it into “defaults”.")
        shared[key] = values.pop()
    return Settings(
        models_dir=(shared["models_dir"] or usual.models_dir).resolve(),
        embeddings_dirs=((shared["embeddings_dir"] or usual.embeddings_dirs[0]).resolve(),),
        outputs_dir=(shared["outputs_dir"] or usual.outputs_dir).resolve(),
        device=_own_device(shared["device"] or "auto"),
        precision=flags.precision,
    )


def _own_device(device: str) -> str:
    """Return the GPU of this process where ``accelerate launch`` started several."""
    if device != "auto" or "LOCAL_RANK" not in os.environ:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{int(os.environ['LOCAL_RANK']) % count}" if count else "auto"


def _train_one(job: Job, settings: Settings) -> None:
    with opened(settings) as studio:
        result = carry_out(studio, job, again=job.overwrite)
    if not result.good:
        raise AppError(result.problem)
    if result.before:
        print(f"{job.name} was finished before; nothing had to be done. --overwrite trains anew.")
    for each in result.each:
        if each.lora:
            print(each.lora)
        print(f"{each.file}\n{each.verdict}: {each.gain:.1%} better than the initializer.")


def _train_many(jobs: Sequence[Job], settings: Settings) -> list[Result]:
    """Train jobs one after another on one model; a job that fails does not keep the next back."""
    with opened(settings) as studio:
        return [attempt(studio, job) for job in jobs]
