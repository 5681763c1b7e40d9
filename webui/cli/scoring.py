"""``score``: embeddings measured and drawn, as a table and as contact sheets."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from webui.archives import as_folder
from webui.cli.jobs import opened
from webui.cli.training import add_place, settings_of
from webui.errors import BadField
from webui.files import write_whole
from webui.studio.measuring import STRENGTHS, Sheet, image_bytes, in_a_line
from webui.training.dataset import TAKEN, find_pictures, read_pictures
from webui.training.jobs.job import Job
from webui.training.recipe import Recipe
from webui.training.stages import NAME

if TYPE_CHECKING:
    from PIL import Image

    from webui.studio.studio import Studio
    from webui.training.learned.step import LearnedStep
    from webui.training.score import Measured

MAX_PROMPTS, MAX_STRENGTH, MAX_SEED = 100, 4.0, 2**32 - 1


def add(commands: Any) -> None:
    """Add the command to argparse's ``commands``."""
    score = commands.add_parser("score", help="measure embeddings and draw contact sheets")
    score.set_defaults(run=_score)
    score.add_argument("names", nargs="+", metavar="NAME", help="name of an embedding, or a file")
    score.add_argument("--data", type=Path, help="images, where the run that made it is gone")
    score.add_argument("--init", default="", help="words it is compared with")
    score.add_argument("--prompts", type=Path, help="file of prompts, each a line with [name]")
    score.add_argument(
        "--strengths",
        default=",".join(f"{strength:g}" for strength in STRENGTHS),
        help="default: %(default)s",
    )
    score.add_argument("--seeds", default="0", help="default: %(default)s")
    score.add_argument("--out", type=Path, help="folder; default: outputs/score/<time>")
    score.add_argument("--no-sheet", action="store_true", help="numbers alone")
    add_place(score)


def _score(flags: argparse.Namespace) -> None:
    sheet = Sheet(
        prompts_of(flags.prompts) if flags.prompts else (),
        numbers_of("strengths", flags.strengths, 0.0, MAX_STRENGTH),
        tuple(int(seed) for seed in numbers_of("seeds", flags.seeds, 0, MAX_SEED, whole=True)),
    )
    pictures = []
    if flags.data:
        with as_folder(flags.data, TAKEN) as folder:
            pictures = read_pictures(find_pictures(folder)[0])
    places = ("models_dir", "embeddings_dir", "outputs_dir", "device")
    settings = settings_of([Job(**{key: getattr(flags, key) for key in places})], flags)
    out = flags.out or settings.outputs_dir / "score" / f"{datetime.now():%Y%m%d-%H%M%S}"
    with opened(settings) as studio:
        studio.models.switch(flags.model)
        studio.models.get()
        rows = []
        for name in flags.names:
            embedding = studio.embedding(name)
            measured, recipe, learned = studio.measuring.measure(embedding, flags.init, pictures)
            print(in_a_line(measured), flush=True)
            rows.append(measured)
            if not flags.no_sheet:
                file = f"{len(rows):02d}-{re.sub(r'[^-.A-Za-z0-9_]', '_', embedding.name)}.png"
                image = _drawn(studio, learned, measured, recipe, sheet)
                write_whole(out / file, image_bytes(image, "PNG"))
    _write(rows, out)
    print(f"Written to {out}.")


def prompts_of(file: Path) -> tuple[str, ...]:
    """Read one prompt a line. Raises BadField for a line without ``[name]``, and for none."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise BadField("prompts", f"The file {file} cannot be read.") from problem
    prompts = tuple(line.strip() for line in lines if line.strip())
    for prompt in prompts:
        if NAME not in prompt:
            raise BadField("prompts", f"The prompt “{prompt}” of {file.name} lacks {NAME}.")
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        raise BadField(
            "prompts", f"{file.name} holds {len(prompts)} prompts; 1 to {MAX_PROMPTS} are drawn."
        )
    return prompts


def numbers_of(
    field: str, text: str, low: float, high: float, whole: bool = False
) -> tuple[float, ...]:
    """Read numbers with commas between them. Raises BadField for anything else."""
    try:
        numbers = tuple((int if whole else float)(part) for part in text.split(","))
    except ValueError:
        raise BadField(field, f"--{field} “{text}” must be numbers such as 1,2,3.") from None
    for number in numbers:
        if not (math.isfinite(number) and low <= number <= high):
            raise BadField(field, f"--{field}: {number:g} is not from {low:g} to {high:.12g}.")
    return numbers


def _drawn(
    studio: Studio, learned: LearnedStep, measured: Measured, recipe: Recipe, sheet: Sheet
) -> Image.Image:
    """Draw a contact sheet with a progress bar."""
    with tqdm(total=sheet.cells(recipe), unit="image", desc=measured.name) as bar:
        return studio.measuring.draw(learned, measured, recipe, sheet, bar.update)


def _write(rows: Sequence[Measured], out: Path) -> None:
    """Write the numbers as CSV and JSON."""
    from webui.training.score import Measured

    values = [asdict(row) for row in rows]
    write_whole(out / "scores.json", json.dumps(values, ensure_ascii=False, indent=1))
    text = io.StringIO()
    table = csv.DictWriter(text, [item.name for item in fields(Measured)])
    table.writeheader()
    table.writerows(
        # a spreadsheet would run a name that begins like a formula
        {**row, **{key: f"'{row[key]}" for key in ("name", "compared_with") if _formula(row[key])}}
        for row in values
    )
    write_whole(out / "scores.csv", text.getvalue())


def _formula(text: str) -> bool:
    return text.startswith(("=", "+", "-", "@"))
