"""Drawing pictures and watching it: /txt2img, /progress, /interrupt, /skip."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from webui.api.sdapi import txt2img as shapes
from webui.api.sdapi.answers import REFUSED, Busy, Shape, waited
from webui.api.sdapi.options import Options
from webui.api.sdapi.pictures import png_text
from webui.api.sdapi.training import TrainingApi
from webui.api.sdapi.txt2img import Txt2ImgAnswer, Txt2ImgRequest
from webui.errors import AppError, BadField
from webui.job_state import JobState
from webui.studio.jobs import GenerationJob
from webui.studio.studio import Studio

MOST_WAITING = 50
"""Requests that may wait for their turn; more are turned away at once."""


class State(Shape):
    """What goes on, as A1111 tells it."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    """"" when nothing goes on."""
    job_count: int = 0
    """Batches of the request; 0 when nothing goes on."""
    job_timestamp: str = "0"
    job_no: int = 0
    """Batches that are done."""
    sampling_step: int = 0
    sampling_steps: int = 0


class Progress(Shape):
    """How far the generation has got, or a training run while nothing is drawn."""

    progress: float = Field(examples=[0.35])
    """0 to 1; 0 when nothing goes on."""
    eta_relative: float
    """Seconds left."""
    state: State
    current_image: str | None = None
    """The unfinished picture, a PNG in base64."""
    textinfo: str | None = None


def add(router: APIRouter, studio: Studio, options: Options, trained: TrainingApi) -> None:
    """Add the routes."""
    asked: set[Request] = set()

    @router.post("/txt2img", responses=REFUSED, summary="Draw images of a prompt")
    async def txt2img(body: Txt2ImgRequest, request: Request) -> Txt2ImgAnswer:
        shapes.refuse_unsupported(body)
        overrides = options.read(body.override_settings or {}, "override_settings.")
        if len(asked) >= MOST_WAITING:
            raise Busy(f"{MOST_WAITING} requests are waiting already. Try again later.")
        asked.add(request)
        try:
            if body.override_settings_restore_afterwards is False:
                await waited(lambda: options.apply(overrides))
            return await _draw(studio, options.values(), overrides, body, request)
        finally:
            asked.discard(request)

    @router.get("/progress", summary="Tell how far it has got")
    def progress(skip_current_image: bool = False) -> Progress:
        jobs = studio.generating.running()
        drawing = next((job for job in jobs if job.view.state is JobState.DRAWING), None)
        job = drawing or next(iter(jobs), None)
        return _generation(job, skip_current_image) if job else _training(studio)

    @router.post("/interrupt", summary="End what is being drawn; what is finished is kept")
    def interrupt() -> dict[str, Any]:
        if studio.generating.running():
            studio.generating.stop()
        else:
            trained.interrupt()
        return {}

    @router.post("/skip", summary="Give up the current batch and go on with the next")
    def skip() -> dict[str, Any]:
        studio.generating.skip()
        return {}


async def _draw(
    studio: Studio,
    options: Mapping[str, Any],
    overrides: Mapping[str, Any],
    body: Txt2ImgRequest,
    request: Request,
) -> Txt2ImgAnswer:
    """Draw one request; what it overrides holds for it alone, its model too."""
    wanted = overrides.get("sd_model_checkpoint", ""), overrides.get("sd_vae", "")
    choice = studio.models.choice(*wanted)
    with tempfile.TemporaryDirectory(dir=studio.settings.cache_dir) as folder:
        try:
            model = await waited(lambda: studio.drawing.model(choice))
            asked = shapes.read(body, model, {**options, **overrides})
            place = None if _saves(body) else Path(folder)
            job = studio.generating.start(asked, place, model=choice)
        except BadField as error:
            raise shapes.renamed(error) from error
        finally:
            studio.models.settle()
        try:
            await _ended(job, request)
        finally:
            job.stop()
        if job.view.state is JobState.FAILED:
            raise AppError(job.view.problem or "The generation failed.")
        pictures = [(saved, saved.path.read_bytes()) for saved in job.view.pictures]
    return shapes.answer(body, job, model, pictures)


async def _ended(job: GenerationJob, request: Request) -> None:
    """Return once a job has ended; stop it if the client goes away."""
    ended = asyncio.create_task(waited(job.wait))
    gone = asyncio.create_task(_gone(request))
    await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
    if gone.done():
        job.stop()
    gone.cancel()
    await ended


async def _gone(request: Request) -> None:
    """Return once the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _saves(body: Txt2ImgRequest) -> bool:
    return bool(body.save_images) and not body.do_not_save_samples


def _generation(job: GenerationJob, without_image: bool) -> Progress:
    view, request = job.view, job.request
    steps_a_batch = max(1, view.steps // request.batch_count)
    batch = min(view.step // steps_a_batch, request.batch_count - 1)
    image = None if without_image else view.preview
    waiting = f"Waiting for {view.waiting_for}." if view.waiting_for else None
    return Progress(
        progress=view.step / view.steps if view.steps else 0.01,
        eta_relative=view.eta_s or 0.0,
        state=State(
            interrupted=job.stopped,
            job=f"Batch {batch + 1} out of {request.batch_count}",
            job_count=request.batch_count,
            job_timestamp=shapes.timestamp(job),
            job_no=batch,
            sampling_step=view.step - batch * steps_a_batch,
            sampling_steps=steps_a_batch,
        ),
        current_image=png_text(image) if image else None,
        textinfo=waiting,
    )


def _training(studio: Studio) -> Progress:
    """Tell of the training run that goes on, or of nothing."""
    view = studio.training.current()
    if view is None or not view.state.running:
        return Progress(progress=0.0, eta_relative=0.0, state=State())
    state = State(
        interrupted=view.state is JobState.FINISHING,
        job="train-embedding",
        job_count=1,
        sampling_step=view.step,
        sampling_steps=view.steps,
    )
    return Progress(
        progress=max(0.01, view.step / view.steps),
        eta_relative=view.eta_s or 0.0,
        state=state,
        textinfo=view.message,
    )
