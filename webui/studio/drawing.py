"""The one way to draw: page, API, plots, training previews and scores all take it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui.errors import BadField, Interrupted
from webui.generation.engine import Picture, generate
from webui.generation.preview import Previewer
from webui.generation.request import GenerationRequest, checked, default_request
from webui.generation.upscaling import UPSCALERS, list_upscalers
from webui.prompting.conditioning import Conditioner
from webui.prompting.source import EmbeddingSource, Overlay
from webui.studio.gpu import GpuGate
from webui.studio.jobs import PREVIEW_EVERY_S
from webui.studio.models_in_use import ModelChoice, ModelsInUse

if TYPE_CHECKING:
    from torch import Tensor

    from webui.embeddings.library import EmbeddingLibrary
    from webui.models.model import Model
    from webui.studio.jobs import GenerationJob
    from webui.training.learned.step import LearnedStep

MakeExtra = Callable[["Model"], "LearnedStep"]
"""Returns what was learned for the model that it is drawn with; AppError if there is nothing."""


class Drawing:
    """Draws requests, one at a time on the device.

    It owns all that drawing needs besides a request: the models, the embeddings, the LoRAs, what
    is remembered of prompts, and what makes latents visible.
    """

    def __init__(
        self,
        gate: GpuGate,
        models: ModelsInUse,
        library: EmbeddingLibrary,
        folders: Sequence[Path],
    ) -> None:
        """``folders`` are those of models; LoRAs lie in the first one's lora/."""
        self._gate, self._models = gate, models
        self._library, self._folders = library, folders
        self._loras = folders[0] / "lora"
        self._previewer: Previewer | None = None

    def upscalers(self) -> dict[str, Path]:
        """Return the files of networks that enlarge, by name."""
        return list_upscalers(*self._folders)

    def check(self, request: GenerationRequest) -> None:
        """Raise BadField if a checked request names a file that is not there."""
        if request.hires and request.hires_upscaler not in UPSCALERS:
            names = self.upscalers()
            if request.hires_upscaler not in names:
                listed = ", ".join([*UPSCALERS, *names])
                raise BadField(
                    "hires_upscaler",
                    f"Upscaler: there is no “{request.hires_upscaler[:60]}”. Put its file into "
                    f"models/ESRGAN/, or choose one of: {listed}.",
                )

    def model(self, choice: ModelChoice) -> Model:
        """Return a model, waiting until it is there.

        Another one than the one in use stays only until somebody needs that one, which
        ``ModelsInUse.settle`` brings back.
        """
        if choice == self._models.choice():
            return self._models.get()
        with self._gate.hold(f"loading {choice.name}"):
            return self._models.bring(choice)

    def unload(self) -> None:
        """Free the memory of all models; the next request loads what it needs again."""
        with self._gate.hold("unloading the model"):
            self._previewer = None
            self._conditioner.forget()
            self._models.unload()

    def draw(
        self,
        request: GenerationRequest,
        who: str,
        keep: Callable[[Picture], object],
        *,
        job: GenerationJob | None = None,
        model: Model | ModelChoice,
        extra: MakeExtra | None = None,
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Draw the pictures of a checked request, holding the gate as ``who``; ``keep`` each.

        ``keep`` is called in a thread of its own, one picture at a time, while the next is drawn;
        all are kept when this returns or raises, also what ``keep`` raised.
        ``job`` is told of each step, and may be stopped; so may what has no job, by ``given_up``.
        ``model`` is loaded, or is then. ``extra`` can be called although it is not in the library.
        Raises Interrupted if it was stopped (pictures are kept as far as they have got), and
        AppError for what cannot be drawn.
        """

        def stopped() -> bool:
            return given_up() or (job is not None and job.stopped)

        if stopped():
            raise Interrupted("Interrupted.")
        with self._gate.hold(who, stopped), _beside(keep) as keep_beside:
            if isinstance(model, ModelChoice):
                model = self._models.bring(model)
            if job:
                job.begin()
            with self._with(model, extra(model) if extra else None) as (drawn_with, source):
                for event in generate(
                    drawn_with,
                    request,
                    source,
                    self._conditioner,
                    loras=self._loras,
                    upscalers=self.upscalers() if request.hires else None,
                    stopped=stopped,
                    skipped=job.take_skip if job else lambda: False,
                ):
                    if isinstance(event, Picture):
                        keep_beside(event)
                    elif job:
                        job.step_done(event.step, self._preview(job, model, event.latents[0]))

    @contextmanager
    def _with(
        self, model: Model, learned: LearnedStep | None
    ) -> Iterator[tuple[Model, EmbeddingSource]]:
        """Have the model compute with what a run has learned; yields it, and what prompts can call.

        What is compiled of it knows no LoRA of a run, so it is not drawn with.
        """
        if learned is None:
            yield model, self._library
            return
        from webui.training.learned.lora import applied_lora

        source = Overlay(self._library, learned.embeddings, first=True)
        lora = {name: weights.to(model.device) for name, weights in learned.lora.items()}
        with applied_lora(model.unet, lora):
            yield (replace(model, compiled=None) if lora else model), source

    def images(
        self,
        model: Model,
        prompts: Sequence[tuple[str, str]],
        learned: LearnedStep | None,
        seed: int,
        given_up: Callable[[], bool] = lambda: False,
    ) -> list[Image.Image]:
        """Draw one picture for each prompt and its negative prompt as the model recommends.

        Nothing is saved; the gate is free between two. ``learned`` can be called by its names
        although it is not in the library. Raises Interrupted once ``given_up``.
        """
        drawn: list[Image.Image] = []
        extra = None if learned is None else lambda _: learned
        for prompt, negative in prompts:
            request = default_request(
                model.defaults, prompt=prompt, negative_prompt=negative, seed=seed
            )
            self.draw(
                checked(request),
                "a training preview",
                lambda picture: drawn.append(picture.image),
                model=model,
                extra=extra,
                given_up=given_up,
            )
        return drawn

    @cached_property
    def _conditioner(self) -> Conditioner:
        return Conditioner()

    def _preview(self, job: GenerationJob, model: Model, latents: Tensor) -> Image.Image | None:
        """Return how latents ``[4, h, w]`` look if the job is due for a preview."""
        if time.monotonic() < job.preview_due:
            return None
        if self._previewer is None or self._previewer.model is not model:
            self._previewer = Previewer(model)
        shown = self._previewer(latents)
        job.preview_due = time.monotonic() + max(PREVIEW_EVERY_S, self._previewer.rest_s)
        return shown


@contextmanager
def _beside(keep: Callable[[Picture], object]) -> Iterator[Callable[[Picture], None]]:
    """Yield what keeps a picture in a thread beside the caller, once the one before is kept.

    No more than two pictures are there at a time. The block ends when the last one is kept; what
    ``keep`` raised is raised with the next picture, or there.
    """
    before: list[Future[object]] = []

    def settle() -> None:
        while before:
            before.pop().result()

    def keep_beside(picture: Picture) -> None:
        settle()
        before.append(thread.submit(keep, picture))

    with ThreadPoolExecutor(1, "keep") as thread:
        try:
            yield keep_beside
        finally:
            settle()
