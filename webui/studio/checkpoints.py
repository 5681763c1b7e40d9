"""The kept steps of a run, drawn: its own previews at a step, and the step at several strengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from webui.errors import AppError
from webui.files import replacing
from webui.training.captions import preview_of
from webui.training.runs.run_folder import Record, Run
from webui.training.stages import NAME

if TYPE_CHECKING:
    from PIL import Image

    from webui.embeddings.embedding import Embedding
    from webui.models.model import Model

STRENGTHS = (0.6, 0.8, 1.0, 1.2)
"""Weights at which a step is shown side by side."""


class Draw(Protocol):
    """Draws an image for each prompt and its negative prompt; takes the gate itself."""

    def __call__(
        self,
        model: Model,
        prompts: Sequence[tuple[str, str]],
        embedding: Embedding | None,
        seed: int,
    ) -> list[Image.Image]: ...


class Checkpoints:
    """Draws the kept steps of runs. Pictures that were drawn before are not drawn again.

    Its methods wait for the device. They raise AppError if the step was not kept, or another model
    is loaded than the run was made with.
    """

    def __init__(self, model: Callable[[], Model], draw: Draw) -> None:
        self._model, self._draw = model, draw

    def draw_previews(self, run: Run, step: int, most: int | None = None) -> list[Path]:
        """Draw a kept step's previews, or the first ``most``, as the run does at other steps."""
        record = run.record()
        asked = [
            (run.preview_path(step, number), preview_of(record.recipe, prompt, record.name))
            for number, prompt in enumerate(record.recipe.preview_prompts[:most])
        ]
        return self._draw_step(run, record, step, asked)

    def draw_strengths(self, run: Run, step: int) -> list[Path]:
        """Draw the run's first preview prompt with a kept step at each of ``STRENGTHS``."""
        record = run.record()
        prompt = (record.recipe.preview_prompts or (NAME,))[0]
        asked = [
            (
                run.folder / "strengths" / f"step-{step:06d}-{strength:g}.png",
                preview_of(record.recipe, prompt, f"({record.name}:{strength:g})"),
            )
            for strength in STRENGTHS
        ]
        return self._draw_step(run, record, step, asked)

    def _draw_step(
        self, run: Run, record: Record, step: int, asked: Sequence[tuple[Path, tuple[str, str]]]
    ) -> list[Path]:
        from webui.training.runs.runner import embedding_of

        model = self._model()
        if model.short_hash != record.model_hash:
            raise AppError(f"This run was trained on {record.model_name}; load it first.")
        embedding = embedding_of(record, run.read_checkpoint(step), step)
        for path, prompt in asked:
            if not path.is_file():
                (image,) = self._draw(model, [prompt], embedding, record.recipe.seed)
                with replacing(path) as temporary:
                    image.save(temporary, "PNG")
        return [path for path, _ in asked]
