"""Prompts from a file or a box: a line each, a prompt alone or with options of its own."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from webui.errors import AppError, BadField
from webui.generation.plots.axes import find_axis
from webui.generation.plots.plan import MAX_PICTURES, Cell, Plan, PlotContext
from webui.generation.request import FIELDS, MAX_SEED, GenerationRequest, RequestField, checked
from webui.generation.sampling.samplers import split_sampler

LINES = "prompt_lines"
"""The field that errors name."""
PLACES = ("start", "end")
"""Where a line's prompt goes when there is one in the prompt box."""
_OPTIONS: Mapping[str, RequestField] = {
    name: field for field in FIELDS.values() for name in {field.name, field.api_name or field.name}
}
_SAMPLER, _MODEL = ("sampler_name", "sampler"), "sd_model"
_WITHOUT_EFFECT = (
    "outpath_samples",
    "outpath_grids",
    "prompt_for_display",
    "do_not_save_samples",
    "do_not_save_grid",
)
"""Options of AUTOMATIC1111's that say where pictures go, which is decided elsewhere here."""


@dataclass(frozen=True)
class ListOptions:
    """What AUTOMATIC1111's script of this name asks."""

    count_seeds: bool = False
    """Whether the seed counts on from line to line."""
    same_seed: bool = False
    """Whether a random seed is drawn once for all lines."""
    place: str = "start"
    """One of ``PLACES``."""


def plan_list(
    request: GenerationRequest, text: str, options: ListOptions, context: PlotContext
) -> Plan:
    """Return a cell for each line that is not empty.

    ``--prompt "a castle" --steps 30`` sets any field of a request, by its own name or the API's,
    and ``--sd_model`` the checkpoint; a line without two hyphens is all prompt. Raises BadField,
    naming the line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise BadField(LINES, "Enter a prompt in each line, or choose a file of them.")
    if (options.count_seeds or options.same_seed) and request.seed == -1:
        request = replace(request, seed=secrets.randbelow(MAX_SEED + 1))
    base = replace(request, save_grid=False)
    cells: list[Cell] = []
    seed = base.seed
    for number, line in lines:
        try:
            cells.append(_cell(replace(base, seed=seed), line, options, context))
        except AppError as error:
            raise BadField(LINES, f"Line {number}: {error}") from error
        if options.count_seeds:
            seed = (seed + base.pictures) % (MAX_SEED + 1)
    pictures = sum(cell.request.pictures for cell in cells)
    if pictures > MAX_PICTURES:
        raise BadField(
            LINES,
            f"The lines ask for {pictures} images; at most {MAX_PICTURES} are drawn. Leave some "
            "out, or lower the batch count or the batch size.",
        )
    return Plan(cells[0].request, tuple(cells), None)


def _cell(base: GenerationRequest, line: str, options: ListOptions, context: PlotContext) -> Cell:
    given = _options(line) if "--" in line else {"prompt": line}
    cell = Cell(base)
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name in _SAMPLER:
            sampler, schedule = split_sampler(value)
            changes["sampler"] = sampler
            changes |= {} if schedule == "Automatic" else {"schedule_type": schedule}
        elif name == _MODEL and (axis := find_axis("Checkpoint name")):
            [model] = axis.read(f'"{value}"', base, context)
            cell = axis.apply(cell, model, context)
        elif name in _OPTIONS:
            field = _OPTIONS[name]
            changes[field.name] = (value,) if field.type == tuple[str, ...] else field.check(value)
        elif name not in _WITHOUT_EFFECT:
            raise AppError(f"there is no option --{name}.")
    for name in ("prompt", "negative_prompt"):
        if name in changes and getattr(base, name).strip():
            both = (changes[name], getattr(base, name))
            changes[name] = " ".join(both if options.place != "end" else reversed(both))
    request = context.with_styles(replace(cell.request, **changes))
    return replace(cell, request=checked(request))


def _options(line: str) -> dict[str, str]:
    """Return the options of a line; those of several words need no quotation marks in prompts."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise AppError("a quotation mark is missing.") from error
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            found[name] = ""
        elif not name:
            raise AppError(f"options begin with two hyphens, “{word[:40]}” does not.")
        elif found[name] and name not in ("prompt", "negative_prompt"):
            raise AppError(f"--{name} has more than one value; put it into quotation marks.")
        else:
            found[name] = f"{found[name]} {word}".strip()
    for name, value in found.items():
        if not value:
            raise AppError(f"--{name} has no value.")
    return found
