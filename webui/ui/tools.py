"""What programs ask of the page: draw, list embeddings, train, score.

Gradio's clients call them by name, and with ``--mcp`` language models do, as tools. They work as
the page does, but answer with plain values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.errors import AppError
from webui.generation.request import default_request
from webui.images import as_files
from webui.job_state import JobState
from webui.settings import LOCAL_HOSTS
from webui.studio.studio import Studio
from webui.training import presets
from webui.training.dataset import find_pictures
from webui.training.request import TrainingRequest
from webui.ui.toasts import failure


class Tools:
    """The functions that programs call; their docstrings are what language models are told."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def draw(
        self,
        prompt: str,
        negative_prompt: str | None = None,
        steps: int | None = None,
        cfg_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        sampler: str | None = None,
        seed: int = -1,
        settings: dict[str, Any] | None = None,
    ) -> tuple[str, str]:
        """Draw one image of a prompt with the loaded Stable Diffusion model.

        Embeddings are called by their names, (name:1.2) weighs them. Returns the image and its
        parameters as text.

        Args:
            prompt: what to show, in AUTOMATIC1111's syntax
            negative_prompt: what to avoid
            steps: sampling steps; the model's own number if left out
            cfg_scale: how strictly the prompt is followed; the model's own if left out
            width: in pixels; the model's own if left out
            height: in pixels; the model's own if left out
            sampler: name of a sampler; the model's own if left out
            seed: the same number gives the same image; -1 for a new one
            settings: any other setting of a request by its name, such as {"clip_skip": 2}
        """
        main = {
            "steps": steps, "cfg_scale": cfg_scale, "width": width, "height": height,
            "sampler": sampler,
        }  # fmt: skip
        given = {key: value for key, value in main.items() if value is not None}
        try:
            request = default_request(
                self._studio.models.get().defaults,
                **{**(settings or {}), **given, "batch_count": 1, "batch_size": 1},
                prompt=prompt, negative_prompt=negative_prompt or "",
                seed=seed,
            )  # fmt: skip
        except TypeError as error:
            raise AppError(f"“settings” names what no request has: {error}") from error
        job = self._studio.generating.start(request)
        job.wait()
        if job.view.state is not JobState.FINISHED or not job.view.pictures:
            raise AppError(job.view.problem or "The drawing was interrupted.")
        picture = job.view.pictures[0]
        return str(picture.path), picture.infotext

    def embeddings(self, search: str | None = None) -> list[dict[str, Any]]:
        """List the embeddings with their vectors and why one cannot be used with the loaded model.

        Args:
            search: only those whose name holds this; empty for all
        """
        return [
            {
                "name": card.name,
                "folder": card.folder,
                "vectors": card.vectors,
                "widths": dict(card.widths),
                "trained_on": card.trained_on,
                "problem": self._studio.why_unusable(card),
            }
            for card in self._studio.library.snapshot().cards
            if (search or "").lower() in card.name.lower()
        ]

    def train(
        self,
        name: str,
        initializer: str,
        images: list[str],
        preset: str = "object",
        steps: int | None = None,
    ) -> dict[str, Any]:
        """Train a new embedding from images in the background and wait until it is installed.

        Returns the name, the steps done, the file, and what the report says.

        Args:
            name: what it is called in prompts
            initializer: a word or a few that describe the thing coarsely
            images: 3 or more images of the thing (5 good ones do), as data: URIs, or as paths of
                files or of their folder where the app serves this machine alone
            preset: object, style or another preset of the Train tab
            steps: training steps; the preset's own number if left out
        """
        recipe = presets.preset(preset, self._studio.models.get().family)
        if steps is not None:
            recipe = replace(recipe, steps=steps)
        paths = [image for image in images if not image.startswith("data:")]
        if paths and self._studio.settings.host not in LOCAL_HOSTS:
            raise AppError("While the network is served, give the images as data: URIs.")
        with as_files([image for image in images if image not in paths], "images") as sent:
            files = (*sent, *(file for path in paths for file in _pictures(Path(path))))
            asked = TrainingRequest(name, files, initializer, recipe)
            run_id = self._studio.training.start(asked)
        view = self._studio.training.wait(run_id)
        if view.problem:
            raise AppError(view.problem)
        return {
            "name": view.name,
            "state": view.state.value,
            "step": view.step,
            "file": str(view.file) if view.file else None,
            "report": asdict(view.report) if view.report else None,
        }

    def score(self, name: str) -> dict[str, Any]:
        """Measure how well an embedding was learned, with the loaded model.

        Returns its vectors, gain on the images of its training with the error of that figure,
        editability, norm ratio and verdict.

        Args:
            name: the embedding's name
        """
        embedding = self._studio.library.get(name)
        if embedding is None:
            raise AppError(f"There is no embedding “{name}”.")
        measured, *_ = self._studio.measuring.measure(embedding)
        return asdict(measured)


def _pictures(path: Path) -> list[Path]:
    """Return a file, or the pictures of a folder."""
    return find_pictures(path)[0] if path.is_dir() else [path]


def build(studio: Studio) -> None:
    """Give the page the four functions as its public API; inside its Blocks, before its parts.

    Gradio lets callers leave out those parameters whose component has a value or which are None.
    """
    tools = Tools(studio)
    number = partial(gr.Number, precision=0)
    settings = partial(_described, gr.JSON, {"type": "object"})
    images = partial(_described, gr.JSON, {"type": "array", "items": {"type": "string"}})
    with gr.Row(visible=False):
        _offer(
            tools.draw,
            [gr.Textbox, gr.Textbox, number, gr.Number, number, number, gr.Textbox,
             partial(number, -1), settings],
            [gr.Image(label="image", type="filepath", format="png"),
             gr.Textbox(label="parameters")],
        )  # fmt: skip
        _offer(tools.embeddings, [gr.Textbox], [gr.JSON(label="embeddings")])
        _offer(
            tools.train,
            [gr.Textbox, gr.Textbox, images, partial(gr.Textbox, "object"), number],
            [gr.JSON(label="run")],
        )
        _offer(tools.score, [gr.Textbox], [gr.JSON(label="figures")])


def _described(kind: Callable[..., Component], schema: dict[str, Any], **options: Any) -> Component:
    """Make a component with a schema of ours; Gradio's own is one that its tool server refuses."""
    component = kind(**options)
    component.api_info = lambda: schema  # type: ignore[method-assign]
    return component


def _offer(
    function: Callable[..., Any],
    kinds: Sequence[Callable[..., Component]],
    outputs: Sequence[Component],
) -> None:
    """Make a function an endpoint of its name; ``kinds`` make the components of its parameters."""
    names = inspect.signature(function).parameters
    inputs = [kind(label=name) for name, kind in zip(names, kinds, strict=True)]
    event = gr.Button().click
    # Gradio's tool server takes several outputs of a queued function for one.
    event(
        _refusing(function),
        inputs,
        list(outputs),
        api_name=function.__name__,
        queue=len(outputs) == 1,
    )


def _refusing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose errors reach its caller as their sentence."""

    @wraps(function)
    def called(*values: Any) -> Any:
        try:
            return function(*values)
        except AppError as error:
            raise failure(error) from error

    return called
