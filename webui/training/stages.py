"""Templates of captions, and the stages of a run that have templates of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NAME = "[name]"
"""What stands for the embedding in templates, as in AUTOMATIC1111's."""
_STAGE = re.compile(r"#\s*(\d+(?:\.\d+)?)\s*%?\s*")


@dataclass(frozen=True)
class Stage:
    """A part of a run, and the templates that its captions are drawn from."""

    share: float
    """Of the run's steps, as a weight beside those of the other stages."""
    lines: tuple[str, ...]
    """Each with ``[name]``."""


def stages_of(lines: Sequence[str]) -> tuple[Stage, ...]:
    """Return the stages of templates: a line such as ``# 40 %`` begins one with that share.

    Without such lines all are one stage. Raises ValueError for a template without ``[name]``, one
    before the first such line, and a stage without templates or steps.
    """
    stages: list[tuple[float, list[str]]] = []
    for line in lines:
        if head := _STAGE.fullmatch(line.strip()):
            stages.append((float(head[1]), []))
        elif NAME not in line:
            raise ValueError(f"The template “{line}” lacks {NAME}.")
        elif stages:
            stages[-1][1].append(line)
        else:
            stages.append((0.0, [line]))
    if len(stages) == 1 and not stages[0][0]:
        return (Stage(1.0, tuple(stages[0][1])),)
    for share, own in stages:
        if not own:
            raise ValueError(f"The stage of {share:g} % has no templates.")
        if not share:
            raise ValueError("Each stage begins with a line such as “# 40 %” and has some steps.")
    return tuple(Stage(share, tuple(own)) for share, own in stages)


def stage_at(stages: Sequence[Stage], at: float) -> Stage:
    """Return the stage after a part of the run, ``at`` from 0 to 1."""
    left = at * sum(stage.share for stage in stages)
    for stage in stages:
        left -= stage.share
        if left < 0:
            return stage
    return stages[-1]
