"""The X/Y/Z plot: axes, their values, and the request of each cell."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from webui.errors import AppError, BadField
from webui.generation.metadata.infotext import PLACED
from webui.generation.plots.axis_values import read_list, read_numbers, read_whole_numbers
from webui.generation.plots.prompt_edit import MARKER, call_of, calls_in, place, weigh_call
from webui.generation.request import MAX_SEED, GenerationRequest, checked
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES, split_sampler

MAX_CELLS = 100
"""Most combinations of values in one plot."""
MAX_PICTURES = 400
"""Most pictures of one plot, if its cells have several."""
FIELDS = ("x_values", "y_values", "z_values")
"""The fields that errors name: the values of the three axes."""
NOTHING, NONE = "Nothing", "none"


@dataclass(frozen=True)
class TrainedRun:
    """A training run whose steps can be values."""

    run_id: str
    name: str
    """Of its embedding."""
    steps: tuple[int, ...]
    """Those whose vectors are kept."""


@dataclass(frozen=True)
class PlotContext:
    """What there is that a value can name."""

    embeddings: Mapping[str, bool] = field(default_factory=dict)
    """Names of the embeddings, and whether each is only called explicitly."""
    checkpoints: Sequence[str] = ()
    run: TrainedRun | None = None


@dataclass(frozen=True)
class Cell:
    """One combination of values, drawn as the pictures of one request."""

    request: GenerationRequest
    checkpoint: str | None = None
    """The model to draw with; None for the one in use."""
    training_step: int | None = None
    """The step of the run whose vectors its name calls."""
    placed: str | None = None
    """Name of the embedding that an axis put into the prompt."""


@dataclass(frozen=True)
class Axis:
    """A kind of axis."""

    name: str
    """As AUTOMATIC1111 calls it, where it has it."""
    hint: str
    """What its values look like, for people."""
    read: Callable[[str, GenerationRequest, PlotContext], Sequence[Any]]
    """Returns the values in a text; raises AppError."""
    apply: Callable[[Cell, Any, PlotContext], Cell]
    label: Callable[[Any], str]
    """Returns what a value is called in the grid."""
    order: int = 0
    """Axes of a lower one are applied first."""
    choices: Callable[[PlotContext], Sequence[str]] | None = None
    """Returns all there is to choose from, where that can be counted."""


@dataclass(frozen=True)
class Plan:
    """A plot whose every cell is known."""

    request: GenerationRequest
    """What the cells have in common."""
    axes: tuple[tuple[str, tuple[str, ...]], ...]
    """Name and labels of the x, y and z axis; one empty label for ``NOTHING``."""
    cells: tuple[Cell, ...]
    """x changes fastest, z slowest."""
    placement: str = ""
    """Where the embedding of an axis was put, for people; "" if there is none."""

    @property
    def pairs(self) -> dict[str, str]:
        """What the grid's parameters say about the plot, in AUTOMATIC1111's words."""
        pairs = {"Script": "X/Y/Z plot"}
        for letter, (name, labels) in zip("XYZ", self.axes, strict=True):
            if name != NOTHING:
                pairs |= {f"{letter} Type": name, f"{letter} Values": ", ".join(labels)}
        return pairs | ({PLACED: self.placement} if self.placement else {})


def plan(request: GenerationRequest, chosen: Sequence[tuple[str, str]], here: PlotContext) -> Plan:
    """Return the cells of a plot.

    ``chosen`` are the name of the kind and the text of the values of the x, y and z axis. All
    cells share one seed, from which it counts up in a cell of several pictures. Raises BadField
    with the first field of the request or of ``FIELDS`` that cannot be used.
    """
    base = checked(replace(request, save_grid=False))
    axes = [_axis(name, where) for (name, _), where in zip(chosen, FIELDS, strict=True)]
    _refuse_doubles(axes)
    values = [
        _values(axis, text, where, base, here)
        for axis, (_, text), where in zip(axes, chosen, FIELDS, strict=True)
    ]
    _refuse_too_many(values, base)
    cells = []
    for z, y, x in itertools.product(values[2], values[1], values[0]):
        cell = Cell(base)
        for axis, value in sorted(zip(axes, (x, y, z), strict=True), key=lambda one: one[0].order):
            cell = axis.apply(cell, value, here)
        cells.append(cell)
    _refuse_idle_strength(axes, cells, base)
    labels = [
        tuple(axis.label(value) for value in row) for axis, row in zip(axes, values, strict=True)
    ]
    named = tuple((axis.name, row) for axis, row in zip(axes, labels, strict=True))
    return Plan(base, named, tuple(cells), _placement(axes, base, here))


def _axis(name: str, where: str) -> Axis:
    if name not in AXES:
        raise BadField(where, f"There is no axis “{name}”. Choose one of: {', '.join(AXES)}.")
    return AXES[name]


def _refuse_doubles(axes: Sequence[Axis]) -> None:
    """Raise BadField for kinds of axes that would overwrite each other."""
    for number, axis in enumerate(axes):
        others = [other.name for other in axes[:number]]
        clash = {"Embedding", "Training step"} if axis.name in _PLACING else {axis.name}
        if axis.name not in (NOTHING, "Prompt S/R") and clash.intersection(others):
            raise BadField(
                FIELDS[number],
                f"{axis.name} cannot be used together with {clash.intersection(others).pop()} "
                "on another axis.",
            )


def _values(
    axis: Axis, text: str, where: str, base: GenerationRequest, here: PlotContext
) -> Sequence[Any]:
    """Return the values of an axis, each of which makes a request that can be drawn."""
    try:
        values = axis.read(text, base, here)
        if not values:
            raise AppError(f"Enter values: {axis.hint}")
        for value in values:
            checked(axis.apply(Cell(base), value, here).request)
    except AppError as error:
        raise BadField(where, str(error)) from error
    return values


def _refuse_too_many(values: Sequence[Sequence[Any]], base: GenerationRequest) -> None:
    """Raise BadField at the longest axis if there are too many cells or pictures."""
    cells = len(values[0]) * len(values[1]) * len(values[2])
    longest = FIELDS[max(range(3), key=lambda number: len(values[number]))]
    if cells > MAX_CELLS:
        raise BadField(
            longest,
            f"The plot would have {cells} cells; at most {MAX_CELLS} are drawn. Take some values "
            "out.",
        )
    if cells * base.pictures > MAX_PICTURES:
        raise BadField(
            longest,
            f"The plot would have {cells} cells of {base.pictures} pictures, "
            f"{cells * base.pictures} in all; at most {MAX_PICTURES} are drawn. Take some values "
            "out, or lower the batch count or the batch size.",
        )


def _refuse_idle_strength(
    axes: Sequence[Axis], cells: Sequence[Cell], base: GenerationRequest
) -> None:
    """Raise BadField if there is an axis of strengths and nothing that they act on."""
    names = [axis.name for axis in axes]
    if "Embedding strength" not in names:
        return
    if all(cell.placed is None for cell in cells):
        raise BadField(
            FIELDS[names.index("Embedding strength")],
            "The prompts call no embedding whose strength could change. Write one into a prompt.",
        )


def _placement(axes: Sequence[Axis], base: GenerationRequest, here: PlotContext) -> str:
    """Say where the embedding of an axis was put, "" where no axis puts one."""
    names = [axis.name for axis in axes if axis.name in _PLACING]
    texts = (base.prompt, base.negative_prompt)
    if not names:
        return ""
    if MARKER in "".join(texts):
        return f"at {MARKER}"
    if "Training step" in names and any(calls_in(text, {here.run.name: False}) for text in texts):
        return "where the prompts call it"
    return "at the end of the prompt"


def _setting(name: str) -> Callable[[Cell, Any, PlotContext], Cell]:
    """Return what sets a field of the request."""
    return lambda cell, value, here: replace(cell, request=replace(cell.request, **{name: value}))


def _read_seeds(text: str, base: GenerationRequest, here: PlotContext) -> list[int]:
    seeds = read_whole_numbers(text)
    return [secrets.randbelow(MAX_SEED + 1) if seed == -1 else seed for seed in seeds]


def _read_replacements(
    text: str, base: GenerationRequest, here: PlotContext
) -> list[tuple[str, str]]:
    """Return the words to look for with each of the words to put in their place."""
    words = read_list(text)
    if words and words[0] not in base.prompt and words[0] not in base.negative_prompt:
        raise AppError(f"“{words[0]}”, the first value, is in neither prompt, so nothing changes.")
    return [(words[0], word) for word in words]


def _replace_words(cell: Cell, value: tuple[str, str], here: PlotContext) -> Cell:
    request = cell.request
    texts = {name: getattr(request, name).replace(*value) for name in ("prompt", "negative_prompt")}
    return replace(cell, request=replace(request, **texts))


def _read_samplers(text: str, base: GenerationRequest, here: PlotContext) -> list[tuple[str, str]]:
    """Return samplers, each with the schedule type that its name ends with."""
    found = []
    for name in read_list(text):
        sampler, schedule = split_sampler(name)
        if sampler not in SAMPLERS:
            raise AppError(f"There is no sampler “{name}”. There are: {', '.join(SAMPLERS)}.")
        found.append((sampler, schedule))
    return found


def _set_sampler(cell: Cell, value: tuple[str, str], here: PlotContext) -> Cell:
    sampler, schedule = value
    changes = {"sampler": sampler} | (
        {"schedule_type": schedule} if schedule != "Automatic" else {}
    )
    return replace(cell, request=replace(cell.request, **changes))


def _named(
    what: str, names: Callable[[PlotContext], Sequence[str]]
) -> Callable[[str, GenerationRequest, PlotContext], list[str]]:
    """Return what reads a list of names, in any case, that must be among some."""

    def read(text: str, base: GenerationRequest, here: PlotContext) -> list[str]:
        known = {name.casefold(): name for name in names(here)}
        for name in read_list(text):
            if name.casefold() not in known:
                listed = ", ".join(list(known.values())[:20])
                raise AppError(f"There is no {what} “{name}” here. There are: {listed or 'none'}.")
        return [known[name.casefold()] for name in read_list(text)]

    return read


def _read_sizes(text: str, base: GenerationRequest, here: PlotContext) -> list[tuple[int, int]]:
    sizes = []
    for entry in read_list(text):
        match = re.fullmatch(r"(\d{1,5})\s*[x×]\s*(\d{1,5})", entry)
        if match is None:
            raise AppError(f"“{entry}” is no size such as 512x768.")
        sizes.append((int(match[1]), int(match[2])))
    return sizes


def _set_size(cell: Cell, value: tuple[int, int], here: PlotContext) -> Cell:
    return replace(cell, request=replace(cell.request, width=value[0], height=value[1]))


def _embeddings(here: PlotContext) -> list[str]:
    return [NONE, *sorted(here.embeddings, key=str.casefold)]


def _put_embedding(cell: Cell, name: str, here: PlotContext) -> Cell:
    if name == NONE and NONE not in here.embeddings:
        return replace(cell, request=place(cell.request, ""), placed=None)
    call = call_of(name, here.embeddings[name])
    return replace(cell, request=place(cell.request, call), placed=name)


def _read_steps(text: str, base: GenerationRequest, here: PlotContext) -> list[int]:
    if here.run is None or not here.run.steps:
        raise AppError("Choose a training run that has kept some of its steps.")
    if text.strip().casefold() in ("", "all"):
        return list(here.run.steps)
    steps = read_whole_numbers(text)
    for step in steps:
        if step not in here.run.steps:
            kept = ", ".join(map(str, here.run.steps))
            raise AppError(f"Step {step} was not kept. The run has kept: {kept}.")
    return steps


def _put_step(cell: Cell, step: int, here: PlotContext) -> Cell:
    request, name = cell.request, here.run.name
    texts = (request.prompt, request.negative_prompt)
    called = any(calls_in(text, {name: False}) for text in texts)
    if MARKER in "".join(texts) or not called:
        request = place(request, call_of(name, False))
    return replace(cell, request=request, training_step=step, placed=name)


def _set_strength(cell: Cell, weight: float, here: PlotContext) -> Cell:
    """Weigh the embedding that another axis put into the prompts, or the first in them."""
    names = dict(here.embeddings) | ({here.run.name: False} if here.run else {})
    for field_name in ("prompt", "negative_prompt"):
        text = getattr(cell.request, field_name)
        calls = [call for call in calls_in(text, names) if cell.placed in (None, call.name)]
        if calls:
            changed = {field_name: weigh_call(text, calls[0], weight)}
            return replace(cell, request=replace(cell.request, **changed), placed=calls[0].name)
    return cell


_PLACING = ("Embedding", "Training step")
_LAST = 2
_AXES = (
    Axis(
        NOTHING, "", lambda text, base, here: [None], lambda cell, value, here: cell,
        lambda value: "",
    ),
    Axis(
        "Embedding", f"names, and {NONE} to compare: {NONE}, marc_allante, my_mug",
        _named("embedding that this model can use", _embeddings), _put_embedding,
        lambda name: "no embedding" if name == NONE else name, order=1, choices=_embeddings,
    ),
    Axis(
        "Embedding strength", "weights: 0.6, 0.8, 1, 1.2 or 0-1.5 (+0.25)",
        lambda text, base, here: read_numbers(text), _set_strength,
        lambda weight: f"strength {weight:g}", order=_LAST,
    ),
    Axis(
        "Training step", "steps that the run has kept: 100, 300; nothing for all of them",
        _read_steps, _put_step, lambda step: f"step {step}", order=1,
        choices=lambda here: [str(step) for step in here.run.steps] if here.run else [],
    ),
    Axis(
        "Prompt S/R", "words to look for, then what replaces them: red, green, blue",
        _read_replacements, _replace_words, lambda value: value[1],
    ),
    Axis(
        "Seed", "whole numbers: 1-4 or 7, 8, -1", _read_seeds, _setting("seed"),
        lambda seed: f"Seed: {seed}",
    ),
    Axis(
        "Steps", "whole numbers: 10, 20 or 10-50 (+10)",
        lambda text, base, here: read_whole_numbers(text), _setting("steps"),
        lambda steps: f"Steps: {steps}",
    ),
    Axis(
        "CFG scale", "numbers: 4, 7.5 or 3-9 [4]",
        lambda text, base, here: read_numbers(text), _setting("cfg_scale"),
        lambda scale: f"CFG scale: {scale:g}",
    ),
    Axis(
        "Sampler", "names: Euler a, DPM++ 2M Karras", _read_samplers, _set_sampler,
        lambda value: " ".join(part for part in value if part != "Automatic"),
        choices=lambda here: list(SAMPLERS),
    ),
    Axis(
        "Schedule type", "names: Karras, Exponential",
        _named("schedule type", lambda here: list(SCHEDULE_TYPES)), _setting("schedule_type"),
        str, choices=lambda here: list(SCHEDULE_TYPES),
    ),
    Axis(
        "Checkpoint name", "names of models", _named("model", lambda here: here.checkpoints),
        lambda cell, name, here: replace(cell, checkpoint=name), str,
        choices=lambda here: here.checkpoints,
    ),
    Axis(
        "Clip skip", "whole numbers: 1, 2", lambda text, base, here: read_whole_numbers(text),
        _setting("clip_skip"), lambda layers: f"Clip skip: {layers}",
    ),
    Axis(
        "Size", "width and height: 512x512, 512x768", _read_sizes, _set_size,
        lambda size: f"{size[0]}×{size[1]}",
    ),
)  # fmt: skip
AXES: Mapping[str, Axis] = {axis.name: axis for axis in _AXES}
"""The kinds of axes in the order in which they are offered."""
