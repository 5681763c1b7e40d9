"""``download``: fetch a model from Hugging Face; the only command that uses the internet."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from webui.errors import AppError, BadField
from webui.models.download import Plan, check_id, download, in_words, place_for, plan
from webui.settings import Settings

EVERY_S = 0.2
"""So often progress is told."""


def add(commands: Any) -> None:
    """Add the command to argparse's ``commands``."""
    command = commands.add_parser("download", help="fetch a model from Hugging Face")
    command.set_defaults(run=_run)
    command.add_argument("repo_id", metavar="OWNER/NAME")
    command.add_argument("--models-dir", type=Path, default=Settings().models_dir)
    command.add_argument(
        "--json", action="store_true", help="tell progress in lines of JSON, for programs"
    )


def _run(flags: argparse.Namespace) -> None:
    # The command asks for what is forbidden everywhere else; read when the client is imported.
    os.environ["HF_HUB_OFFLINE"] = "0"
    models = flags.models_dir.resolve()
    try:
        repo_id = check_id(flags.repo_id)
        place_for(repo_id, models)
        wanted = plan(repo_id)
        folder = (_for_programs if flags.json else _for_people)(wanted, models)
    except AppError as problem:
        if not flags.json:
            raise
        field = problem.field if isinstance(problem, BadField) else None
        _say(problem=str(problem), field=field)
        raise SystemExit(1) from problem
    except KeyboardInterrupt:
        raise SystemExit("Stopped; the same command goes on where it was.") from None
    if flags.json:
        _say(name=folder.name)
    else:
        print(f"{folder} is there. Choose it under Model.")


def _for_people(wanted: Plan, models: Path) -> Path:
    print(f"{wanted.repo_id}: {len(wanted.files)} files, {in_words(wanted.size_bytes)}")
    with tqdm(total=wanted.size_bytes, unit="B", unit_scale=True, desc=wanted.repo_id) as bar:
        return download(wanted, models, lambda done: bar.update(done - bar.n))


def _for_programs(wanted: Plan, models: Path) -> Path:
    told = 0.0

    def report(done: int) -> None:
        nonlocal told
        if time.monotonic() - told >= EVERY_S or done == wanted.size_bytes:
            told = time.monotonic()
            _say(done=done, total=wanted.size_bytes)

    return download(wanted, models, report)


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)
