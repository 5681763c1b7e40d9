"""The prompt matrix: the prompt with each choice of the parts that stand behind its bars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from webui.errors import BadField
from webui.generation.plots.plan import MAX_CELLS, Cell, Plan, PlotContext
from webui.generation.request import GenerationRequest, checked

BAR = "|"
NO_PART = "–"
"""The label where no part is chosen."""
SIDES = {"positive": "prompt", "negative": "negative_prompt"}
JOINTS = {"comma": ", ", "space": " "}


@dataclass(frozen=True)
class MatrixOptions:
    """What AUTOMATIC1111's script of this name asks."""

    at_start: bool = False
    """Whether the parts come before what is always there."""
    different_seeds: bool = False
    """Whether the seed counts up from cell to cell."""
    side: str = "positive"
    """One of ``SIDES``: whose bars count."""
    joint: str = "comma"
    """One of ``JOINTS``."""


def plan_matrix(request: GenerationRequest, options: MatrixOptions, context: PlotContext) -> Plan:
    """Return a cell for each choice of parts, one picture each.

    The first half of the parts makes the columns, the others the rows. Raises BadField if the
    request cannot be drawn, or if there are no parts or too many.
    """
    field = SIDES.get(options.side, "prompt")
    base = checked(replace(request, save_grid=False, batch_count=1, batch_size=1))
    always, *parts = (part.strip().strip(",").strip() for part in getattr(base, field).split(BAR))
    if not parts:
        raise BadField(
            field,
            "A prompt matrix needs parts behind bars: a castle | at night | in snow draws the "
            "castle without them, with each, and with both.",
        )
    if 2 ** len(parts) > MAX_CELLS:
        raise BadField(
            field,
            f"{len(parts)} parts make {2 ** len(parts)} images; at most {MAX_CELLS} are drawn. "
            "Leave some parts out.",
        )
    joint = JOINTS.get(options.joint, ", ")
    cells = []
    for number in range(2 ** len(parts)):
        chosen = _chosen(parts, number)
        words = [*chosen, always] if options.at_start else [always, *chosen]
        changed: dict[str, Any] = {field: joint.join(word for word in words if word)}
        seed = base.seed + (number if options.different_seeds else 0)
        own = context.with_styles(replace(base, seed=seed, **changed))
        cells.append(Cell(checked(own)))
    across = (len(parts) + 1) // 2
    return Plan(
        base,
        tuple(cells),
        (_labels(parts[:across]), _labels(parts[across:]), ("",)),
        {"Script": "Prompt matrix"},
    )


def _chosen(parts: list[str], number: int) -> list[str]:
    """Return the parts whose bits are set in a number, the first part's being the lowest."""
    return [part for place, part in enumerate(parts) if number >> place & 1]


def _labels(parts: list[str]) -> tuple[str, ...]:
    if not parts:
        return ("",)
    return tuple(" + ".join(_chosen(parts, number)) or NO_PART for number in range(2 ** len(parts)))
