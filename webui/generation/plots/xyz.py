"""The X/Y/Z plot: the request of each combination of the values of three axes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from webui.errors import AppError, BadField
from webui.generation.metadata.infotext import PLACED
from webui.generation.plots.axes import (
    AXES,
    NOTHING,
    PLACING,
    Axis,
    calls_embedding,
    chosen_run,
    find_axis,
)
from webui.generation.plots.axis_values import read_list, write_list
from webui.generation.plots.plan import MAX_CELLS, MAX_PICTURES, Cell, Plan, PlotContext
from webui.generation.plots.prompt_edit import MARKER
from webui.generation.request import FIELDS, GenerationRequest, acts, checked

VALUES = ("x_values", "y_values", "z_values")
"""The fields that errors name: the values of the three axes."""
SCRIPT = "X/Y/Z plot"
"""What the parameters of a grid call the plot."""
ALL = "*"
"""Stands for all values of an axis that can be counted."""


def plan(
    request: GenerationRequest, chosen: Sequence[tuple[str, str]], context: PlotContext
) -> Plan:
    """Return the cells of a plot.

    ``chosen`` are the name of the kind and the text of the values of the x, y and z axis. All
    cells share one seed, from which it counts up in a cell of several pictures. Raises BadField
    with the first field of the request that cannot be used, or with all axes that cannot.
    """
    base = checked(replace(request, save_grid=False))
    axes = [_axis(name, where) for (name, _), where in zip(chosen, VALUES, strict=True)]
    _refuse_doubles(axes)
    values: list[Sequence[Any]] = []
    problems: list[BadField] = []
    for axis, (_, text), where in zip(axes, chosen, VALUES, strict=True):
        try:
            values.append(_values(axis, text, where, base, context))
        except BadField as problem:
            problems.append(problem)
    BadField.raise_together(problems)
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
    pairs: dict[str, object] = {"Script": SCRIPT}
    for letter, axis, (_, text), row in zip("XYZ", axes, chosen, values, strict=True):
        if axis.name != NOTHING:
            pairs |= {f"{letter} Type": axis.name, f"{letter} Values": text.strip()}
        if axis.field and axis.field.random and "-1" in read_list(text):
            pairs[f"Fixed {letter} Values"] = ", ".join(map(str, row))
    if placement := _placement(axes, base, context):
        pairs[PLACED] = placement
    return Plan(base, tuple(cells), (labels[0], labels[1], labels[2]), pairs)


def _axis(name: str, where: str) -> Axis:
    axis = find_axis(name)
    if axis is None:
        raise BadField(where, f"There is no axis “{name}”. Choose one of: {', '.join(AXES)}.")
    return axis


def _refuse_doubles(axes: Sequence[Axis]) -> None:
    """Raise BadField for kinds of axes that would overwrite each other."""
    for number, axis in enumerate(axes):
        others = [other.name for other in axes[:number]]
        clash = {"Embedding", "Training step"} if axis.name in PLACING else {axis.name}
        if axis.name not in (NOTHING, "Prompt S/R", "Prompt order") and clash.intersection(others):
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
        if text.strip() == ALL and axis.choices:
            text = write_list(axis.choices(context))
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
    names = [axis.name for axis in axes if axis.name in PLACING]
    if not names:
        return ""
    if MARKER in base.prompt + base.negative_prompt:
        return f"at {MARKER}"
    if "Training step" in names and calls_embedding(chosen_run(context).name, base):
        return "where the prompts call it"
    return "at the end of the prompt"
