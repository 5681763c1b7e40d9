"""The kept steps of a run, drawn: its own previews at a step, and the step at several strengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from webui.errors import AppError
from webui.files import replacing
from webui.training.captions import Preview, previews_of
from webui.training.runs.run_folder import Record, Run
from webui.training.stages import NAME

if TYPE_CHECKING:
    from PIL import Image

    from webui.models.model import Model
    from webui.training.learned.step import LearnedStep

STRENGTHS = (0.6, 0.8, 1.0, 1.2)
"""Weights at which a step is shown side by side."""


def never() -> bool:
    """Give nothing up."""
    return False


class Draw(Protocol):
    """Draws an image for each prompt and its negative prompt; takes the gate itself.

    Raises Interrupted once ``given_up``.
    """

    def __call__(
        self,
        model: Model,
        prompts: Sequence[tuple[str, str]],
        learned: LearnedStep | None,
        seed: int,
        given_up: Callable[[], bool] = never,
    ) -> list[Image.Image]: ...


class Checkpoints:
    """Draws the kept steps of runs. Pictures that were drawn before are not drawn again.

    Its methods wait for the device. They raise AppError if the step was not kept, or another model
    is loaded than the run was made with.
    """

    def __init__(self, model: Callable[[], Model], draw: Draw) -> None:
        self._model, self._draw = model, draw

    def draw_previews(self, run: Run, step: int) -> list[Path]:
        """Draw a kept step's previews as the run does at other steps."""
        record = run.record()
        asked = dict(enumerate(previews_of(record.recipe, record.names)))
        return self._draw_previews(run, record, step, asked)

    def draw_of_each_name(self, run: Run, steps: Sequence[int]) -> dict[str, Path]:
        """Draw the first preview of each of a run's names with a kept step of its own."""
        record = run.record()
        drawn: dict[str, Path] = {}
        for number, preview in enumerate(previews_of(record.recipe, record.names)):
            name, step = record.names[preview.concept], steps[preview.concept]
            if name not in drawn:
                (drawn[name],) = self._draw_previews(run, record, step, {number: preview})
        return drawn

    def _draw_previews(
        self, run: Run, record: Record, step: int, previews: Mapping[int, Preview]
    ) -> list[Path]:
        asked = [(run.preview_path(step, number), each) for number, each in previews.items()]
        return self._draw_step(run, record, step, asked)

    def draw_strengths(self, run: Run, step: int) -> list[tuple[str, Path]]:
        """Draw the run's first preview prompt with a kept step at each of ``STRENGTHS``.

        Returns each with what it shows; of several names each has a row.
        """
        record = run.record()
        recipe = replace(
            record.recipe, preview_prompts=(record.recipe.preview_prompts or (NAME,))[:1]
        )
        asked, said = [], []
        for strength in STRENGTHS:
            calls = [f"({name}:{strength:g})" for name in record.names]
            for preview in previews_of(recipe, calls):
                number = preview.concept
                ending = f"-{number}" if number else ""
                file = f"step-{step:06d}-{strength:g}{ending}.png"
                asked.append((run.folder / "strengths" / file, preview))
                of_name = f"{record.names[number]} " if len(record.names) > 1 else ""
                said.append((number, f"{of_name}× {strength:g}"))
        drawn = self._draw_step(run, record, step, asked)
        rows = sorted(zip(said, drawn, strict=True), key=lambda each: each[0][0])
        return [(text, path) for (_, text), path in rows]

    def _draw_step(
        self, run: Run, record: Record, step: int, asked: Sequence[tuple[Path, Preview]]
    ) -> list[Path]:
        model = self._model()
        if model.short_hash != record.model_hash:
            raise AppError(f"This run was trained on {record.model_name}; load it first.")
        learned = run.read_checkpoint(step)
        for path, (prompt, negative, _) in asked:
            if not path.is_file():
                (image,) = self._draw(model, [(prompt, negative)], learned, record.recipe.seed)
                with replacing(path) as temporary:
                    image.save(temporary, "PNG")
        return [path for path, _ in asked]
