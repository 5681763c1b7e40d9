"""The X/Y/Z plot: axes, their values, and the request of each cell."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from webui.errors import AppError, BadField
from webui.generation.metadata.infotext import PLACED
from webui.generation.plots.axis_values import read_list, read_numbers, read_whole_numbers
from webui.generation.plots.prompt_edit import MARKER, calls_in, put_call
from webui.generation.request import (
    FIELDS,
    MAX_PROMPT,
    MAX_SEED,
    GenerationRequest,
    RequestField,
    acts,
    checked,
)
from webui.generation.sampling.samplers import SAMPLERS, split_sampler
from webui.prompting.editing.calls import call_text
from webui.prompting.editing.weights import set_weight

MAX_CELLS = 100
"""Most combinations of values in one plot."""
MAX_PICTURES = 400
"""Most pictures of one plot, if its cells have several."""
VALUES = ("x_values", "y_values", "z_values")
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
    choices: Callable[[PlotContext], Collection[str]] | None = None
    """Returns all there is to choose from, where that can be counted."""
    field: RequestField | None = None
    """The field of the request that it sets, where it is only one."""


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


def plan(
    request: GenerationRequest, chosen: Sequence[tuple[str, str]], context: PlotContext
) -> Plan:
    """Return the cells of a plot.

    ``chosen`` are the name of the kind and the text of the values of the x, y and z axis. All
    cells share one seed, from which it counts up in a cell of several pictures. Raises BadField
    with the first field of the request or of ``VALUES`` that cannot be used.
    """
    base = checked(replace(request, save_grid=False))
    axes = [_axis(name, where) for (name, _), where in zip(chosen, VALUES, strict=True)]
    _refuse_doubles(axes)
    values = [
        _values(axis, text, where, base, context)
        for axis, (_, text), where in zip(axes, chosen, VALUES, strict=True)
    ]
    _refuse_too_many(values, base)
    cells = []
    for z, y, x in itertools.product(values[2], values[1], values[0]):
        cell = Cell(base)
        for axis, value in sorted(zip(axes, (x, y, z), strict=True), key=lambda one: one[0].order):
            cell = axis.apply(cell, value, context)
        cells.append(cell)
    _refuse_idle(axes, cells)
    labels = [
        tuple(axis.label(value) for value in row) for axis, row in zip(axes, values, strict=True)
    ]
    named = tuple((axis.name, row) for axis, row in zip(axes, labels, strict=True))
    return Plan(base, named, tuple(cells), _placement(axes, base, context))


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
                VALUES[number],
                f"{axis.name} cannot be used together with {clash.intersection(others).pop()} "
                "on another axis.",
            )


def _values(
    axis: Axis, text: str, where: str, base: GenerationRequest, context: PlotContext
) -> Sequence[Any]:
    """Return the values of an axis, each of which makes a request that can be drawn."""
    try:
        values = axis.read(text, base, context)
        if not values:
            raise AppError(f"Enter values: {axis.hint}")
        for value in values:
            checked(axis.apply(Cell(base), value, context).request)
    except AppError as error:
        raise BadField(where, str(error)) from error
    return values


def _refuse_too_many(values: Sequence[Sequence[Any]], base: GenerationRequest) -> None:
    """Raise BadField at the longest axis if there are too many cells or pictures."""
    cells = len(values[0]) * len(values[1]) * len(values[2])
    longest = VALUES[max(range(3), key=lambda number: len(values[number]))]
    if cells > MAX_CELLS:
        raise BadField(
            longest,
            f"The plot would have {cells} cells; at most {MAX_CELLS} are drawn. Take some values "
            "out.",
        )
    if cells * base.pictures > MAX_PICTURES:
        raise BadField(
            longest,
            f"The plot would have {cells} cells of {base.pictures} images, "
            f"{cells * base.pictures} in all; at most {MAX_PICTURES} are drawn. Take some values "
            "out, or lower the batch count or the batch size.",
        )


def _refuse_idle(axes: Sequence[Axis], cells: Sequence[Cell]) -> None:
    """Raise BadField for an axis whose values change nothing in any cell."""
    for axis, where in zip(axes, VALUES, strict=True):
        field = axis.field
        if field and not any(acts(field, cell.request) for cell in cells):
            needed = FIELDS.get(field.acts_if, FIELDS["hires"]).label
            raise BadField(where, f"{axis.name} has no effect without {needed}.")
        if axis.name == "Embedding strength" and all(cell.placed is None for cell in cells):
            raise BadField(
                where,
                "The prompts call no embedding whose strength could change. Write one into a "
                "prompt.",
            )


def _placement(axes: Sequence[Axis], base: GenerationRequest, context: PlotContext) -> str:
    """Say where the embedding of an axis was put, "" where no axis puts one."""
    names = [axis.name for axis in axes if axis.name in _PLACING]
    if not names:
        return ""
    if MARKER in base.prompt + base.negative_prompt:
        return f"at {MARKER}"
    if "Training step" in names and _calls(_run(context).name, base):
        return "where the prompts call it"
    return "at the end of the prompt"


def _axis_of(field: RequestField) -> Axis:
    """Return the axis of a field of the request."""

    def read_values(text: str, base: GenerationRequest, context: PlotContext) -> Sequence[Any]:
        if field.choices:
            return _listed(field.label.lower(), field.choices, text)
        values = read_whole_numbers(text) if field.type is int else read_numbers(text)
        drawn = [secrets.randbelow(MAX_SEED + 1) if field.random and v == -1 else v for v in values]
        return [field.check(value) for value in drawn]

    def apply(cell: Cell, value: Any, context: PlotContext) -> Cell:
        return replace(cell, request=replace(cell.request, **{field.name: value}))

    def label(value: Any) -> str:
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        return shown if field.choices else f"{field.infotext}: {shown}"

    if field.choices:
        hint = f"names: {', '.join(list(field.choices)[1:3])}"
    else:
        hint = f"{'whole ' if field.type is int else ''}numbers {field.limits}"
    return Axis(
        field.infotext, hint, read_values, apply, label, field=field,
        choices=(lambda context: list(field.choices)) if field.choices else None,
    )  # fmt: skip


def _read_replacements(
    text: str, base: GenerationRequest, context: PlotContext
) -> list[tuple[str, str]]:
    """Return the words to look for with each of the words to put in their place."""
    words = read_list(text)
    if words and words[0] not in base.prompt and words[0] not in base.negative_prompt:
        raise AppError(f"“{words[0]}”, the first value, is in neither prompt, so nothing changes.")
    return [(words[0], word) for word in words]


def _replace_words(cell: Cell, value: tuple[str, str], context: PlotContext) -> Cell:
    request = cell.request
    old, new = value
    for text in (request.prompt, request.negative_prompt):
        if len(text) + text.count(old) * (len(new) - len(old)) > MAX_PROMPT:
            raise AppError(f"With “{new[:40]}” a prompt has more than {MAX_PROMPT:,} characters.")
    prompt, negative = request.prompt.replace(old, new), request.negative_prompt.replace(old, new)
    return replace(cell, request=replace(request, prompt=prompt, negative_prompt=negative))


def _read_samplers(
    text: str, base: GenerationRequest, context: PlotContext
) -> list[tuple[str, str]]:
    """Return samplers, each with the schedule type that its name ends with."""
    found = []
    for name in read_list(text):
        sampler, schedule = split_sampler(name)
        if sampler not in SAMPLERS:
            raise AppError(f"There is no sampler “{name}”. There are: {', '.join(SAMPLERS)}.")
        found.append((sampler, schedule))
    return found


def _set_sampler(cell: Cell, value: tuple[str, str], context: PlotContext) -> Cell:
    sampler, schedule = value
    if schedule == "Automatic":
        schedule = cell.request.schedule_type
    return replace(cell, request=replace(cell.request, sampler=sampler, schedule_type=schedule))


def _named(
    what: str, names: Callable[[PlotContext], Collection[str]]
) -> Callable[[str, GenerationRequest, PlotContext], list[str]]:
    """Return what reads a list of names that must be among some."""
    return lambda text, base, context: _listed(what, names(context), text)


def _listed(what: str, names: Collection[str], text: str) -> list[str]:
    """Return the names in a list, in whatever case; raises AppError for those that are unknown."""
    known = {name.casefold(): name for name in names}
    for name in read_list(text):
        if name.casefold() not in known:
            listed = ", ".join(list(known.values())[:20])
            raise AppError(f"There is no {what} “{name}” here. There are: {listed or 'none'}.")
    return [known[name.casefold()] for name in read_list(text)]


def _read_sizes(text: str, base: GenerationRequest, context: PlotContext) -> list[tuple[int, int]]:
    sizes = []
    for entry in read_list(text):
        match = re.fullmatch(r"(\d{1,5})\s*[x×]\s*(\d{1,5})", entry)
        if match is None:
            raise AppError(f"“{entry}” is no size such as 512x768.")
        sizes.append((int(match[1]), int(match[2])))
    return sizes


def _set_size(cell: Cell, value: tuple[int, int], context: PlotContext) -> Cell:
    return replace(cell, request=replace(cell.request, width=value[0], height=value[1]))


def _embeddings(context: PlotContext) -> list[str]:
    return [NONE, *sorted(context.embeddings, key=str.casefold)]


def _put_embedding(cell: Cell, name: str, context: PlotContext) -> Cell:
    if name == NONE and NONE not in context.embeddings:
        return replace(cell, request=put_call(cell.request, ""), placed=None)
    call = call_text(name, context.embeddings[name])
    return replace(cell, request=put_call(cell.request, call), placed=name)


def _read_steps(text: str, base: GenerationRequest, context: PlotContext) -> list[int]:
    run = _run(context)
    if text.strip().casefold() in ("", "all"):
        return list(run.steps)
    steps = read_whole_numbers(text)
    for step in steps:
        if step not in run.steps:
            kept = ", ".join(map(str, run.steps))
            raise AppError(f"Step {step} was not kept. The run has kept: {kept}.")
    return steps


def _run(context: PlotContext) -> TrainedRun:
    """Return the training run whose steps are values; raises AppError if there is none."""
    if context.run is None or not context.run.steps:
        raise AppError("Choose a training run that has kept some of its steps.")
    return context.run


def _calls(name: str, request: GenerationRequest) -> bool:
    """Return whether one of the prompts calls an embedding."""
    return any(calls_in(text, {name: False}) for text in (request.prompt, request.negative_prompt))


def _put_step(cell: Cell, step: int, context: PlotContext) -> Cell:
    request, name = cell.request, _run(context).name
    if MARKER in request.prompt + request.negative_prompt or not _calls(name, request):
        request = put_call(request, call_text(name))
    return replace(cell, request=request, training_step=step, placed=name)


def _set_strength(cell: Cell, weight: float, context: PlotContext) -> Cell:
    """Weigh the embedding that another axis put into the prompts, or the first in them."""
    names = dict(context.embeddings) | ({context.run.name: False} if context.run else {})
    for field_name in ("prompt", "negative_prompt"):
        text = getattr(cell.request, field_name)
        calls = [call for call in calls_in(text, names) if cell.placed in (None, call.name)]
        if calls:
            changed: dict[str, Any] = {field_name: set_weight(text, calls[0], weight)}
            return replace(cell, request=replace(cell.request, **changed), placed=calls[0].name)
    return cell


_PLACING = ("Embedding", "Training step")
_LAST = 2
_AXES = (
    Axis(
        NOTHING, "", lambda text, base, context: [None], lambda cell, value, context: cell,
        lambda value: "",
    ),
    Axis(
        "Embedding", f"names, and {NONE} to compare: {NONE}, marc_allante, my_mug",
        _named("embedding that this model can use", _embeddings), _put_embedding,
        lambda name: "no embedding" if name == NONE else name, order=1, choices=_embeddings,
    ),
    Axis(
        "Embedding strength", "weights: 0.6, 0.8, 1, 1.2 or 0-1.5 (+0.25)",
        lambda text, base, context: read_numbers(text), _set_strength,
        lambda weight: f"strength {weight:g}", order=_LAST,
    ),
    Axis(
        "Training step", "steps that the run has kept: 100, 300; nothing for all of them",
        _read_steps, _put_step, lambda step: f"step {step}", order=1,
        choices=lambda context: [str(step) for step in context.run.steps] if context.run else [],
    ),
    Axis(
        "Prompt S/R", "words to look for, then what replaces them: red, green, blue",
        _read_replacements, _replace_words, lambda value: value[1],
    ),
    Axis(
        "Sampler", "names: Euler a, DPM++ 2M Karras", _read_samplers, _set_sampler,
        lambda value: " ".join(part for part in value if part != "Automatic"),
        choices=lambda context: list(SAMPLERS),
    ),
    Axis(
        "Checkpoint name", "names of models", _named("model", lambda context: context.checkpoints),
        lambda cell, name, context: replace(cell, checkpoint=name), str,
        choices=lambda context: context.checkpoints,
    ),
    Axis(
        "Size", "width and height: 512x512, 512x768", _read_sizes, _set_size,
        lambda size: f"{size[0]}×{size[1]}",
    ),
    *(_axis_of(field) for field in FIELDS.values() if field.axis),
)  # fmt: skip
AXES: Mapping[str, Axis] = {axis.name: axis for axis in _AXES}
"""The kinds of axes in the order in which they are offered."""
