"""``score``: embeddings measured and drawn, as a table and as contact sheets."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from webui.cli.jobs import opened
from webui.cli.training import add_place, settings_of
from webui.embeddings import formats
from webui.errors import AppError, BadField
from webui.files import write_whole
from webui.generation.plots.grid import draw_grid
from webui.training.captions import NAME, preview_of
from webui.training.dataset import Picture, find_pictures, read_pictures
from webui.training.jobs.job import Job
from webui.training.recipe import Recipe

if TYPE_CHECKING:
    from webui.embeddings.embedding import Embedding
    from webui.studio.studio import Studio
    from webui.training.score import Measured

STRENGTHS = "0.6,0.8,1,1.2"
MAX_PROMPTS, MAX_STRENGTH, MAX_SEED = 100, 4.0, 2**32 - 1


@dataclass(frozen=True)
class Sheet:
    """What a contact sheet shows."""

    prompts: tuple[str, ...]
    """With ``[name]``; empty = those of the recipe."""
    strengths: tuple[float, ...]
    seeds: tuple[int, ...]


def add(commands: Any) -> None:
    """Add the command to argparse's ``commands``."""
    score = commands.add_parser("score", help="measure embeddings and draw contact sheets")
    score.set_defaults(run=_score)
    score.add_argument("names", nargs="+", metavar="NAME", help="name of an embedding, or a file")
    score.add_argument("--data", type=Path, help="pictures, where the run that made it is gone")
    score.add_argument("--init", default="", help="words it is compared with")
    score.add_argument("--prompts", type=Path, help="file of prompts, each a line with [name]")
    score.add_argument("--strengths", default=STRENGTHS, help="default: %(default)s")
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
    pictures = read_pictures(find_pictures(flags.data)[0]) if flags.data else []
    places = ("models_dir", "embeddings_dir", "outputs_dir", "device")
    settings = settings_of([Job(**{key: getattr(flags, key) for key in places})], flags)
    out = flags.out or settings.outputs_dir / "score" / f"{datetime.now():%Y%m%d-%H%M%S}"
    with opened(settings) as studio:
        studio.models.switch(flags.model)
        studio.models.get()
        rows = []
        for name in flags.names:
            embedding = _embedding(studio, name)
            measured, recipe = _measured(studio, embedding, flags.init, pictures)
            print(_line(measured), flush=True)
            rows.append(measured)
            if not flags.no_sheet:
                asked = replace(sheet, prompts=sheet.prompts or recipe.preview_prompts)
                file = f"{len(rows):02d}-{re.sub(r'[^-.A-Za-z0-9_]', '_', embedding.name)}.png"
                _draw(studio, embedding, measured, recipe, asked, out / file)
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


def _embedding(studio: Studio, name: str) -> Embedding:
    """Return an embedding of the library by name, or that of a file."""
    if found := studio.library.get(name):
        return found
    path = Path(name)
    if not path.is_file():
        raise AppError(f"There is neither an embedding nor a file “{name}”.")
    return replace(formats.read(path), name=path.stem)


def _measured(
    studio: Studio, embedding: Embedding, initializer: str, pictures: Sequence[Picture]
) -> tuple[Measured, Recipe]:
    """Measure an embedding with what its run or its file knows, and return the run's recipe."""
    from webui.training.score import measure, run_of

    recipe, model = Recipe(), studio.models.get()
    if run := run_of(embedding, studio.settings.outputs_dir / "train"):
        record = run.record()
        recipe, initializer = record.recipe, initializer or record.initializer
        pictures = pictures or run.pictures()
    elif card := studio.library.card(embedding.name):
        if not initializer and not card.problem:
            initializer = studio.library.metadata(card.name).get("initializer", "")
    with studio.gate.hold("measuring an embedding"):
        return measure(embedding, model, initializer, pictures, recipe), recipe


def _draw(
    studio: Studio,
    embedding: Embedding,
    measured: Measured,
    recipe: Recipe,
    sheet: Sheet,
    file: Path,
) -> None:
    """Draw prompts and seeds downwards, the initializer and then the strengths across."""
    words = [measured.compared_with]
    words += [
        embedding.name if strength == 1 else f"({embedding.name}:{strength:g})"
        for strength in sheet.strengths
    ]
    model = studio.models.get()
    rows = [(prompt, seed) for prompt in sheet.prompts for seed in sheet.seeds]
    cells = []
    with tqdm(total=len(rows) * len(words), unit="picture", desc=embedding.name) as bar:
        for prompt, seed in rows:
            for word in words:
                asked = [preview_of(recipe, prompt, word)]
                cells += studio.drawing.images(model, asked, embedding, seed)
                bar.update()
    across = [measured.compared_with, *(f"× {strength:g}" for strength in sheet.strengths)]
    down = [f"{prompt}, seed {seed}" for prompt, seed in rows]
    buffer = io.BytesIO()
    draw_grid(cells, across, down, [_line(measured)]).save(buffer, "PNG")
    write_whole(file, buffer.getvalue())


def _line(item: Measured) -> str:
    gain = "no pictures to measure the gain"
    if item.gain is not None:
        gain = f"gain {item.gain:.1%} ± {item.error:.1%}"
    return (
        f"{item.name}: {item.vectors} vectors, {gain}, editability {item.editability:.2f}, "
        f"norm {item.norm_ratio:.2f} of a word's; compared with “{item.compared_with}”"
        + (f"; {item.verdict}" if item.verdict else "")
    )


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
