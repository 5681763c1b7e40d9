"""Where on the training images the model finds the thing: shown before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.training.request import TrainingRequest
from webui.ui.markup import message
from webui.ui.train.masks import Masks

HIDDEN: dict[str, Any] = gr.update(visible=False)


class Where:
    """A button and the images that it shows, inside the open Blocks."""

    def __init__(self) -> None:
        self.look = gr.Button("Show what is learned of them", size="sm", elem_id="train-where")
        self.said = gr.HTML(elem_id="train-where-said", js_on_load=None)
        self.shown = gr.Gallery(
            label="What of the images counts",
            columns=5,
            height="auto",
            elem_id="train-where-shown",
            buttons=["fullscreen"],
            interactive=False,
            object_fit="contain",
            visible=False,
        )
        self.masks = Masks()

    def follow(
        self,
        studio: Studio,
        asked: Callable[[Mapping[Any, Any]], TrainingRequest],
        inputs: set[Any],
    ) -> None:
        """Have the button show the images of what the form asks for."""

        def show(data: Mapping[Any, Any]) -> Iterator[dict[Any, Any]]:
            yield {self.said: message("Looking at the images …"), self.shown: HIDDEN}
            try:
                images = studio.training.trials.what_counts(asked(data))
            except AppError as error:
                yield {self.said: message(str(error), "warn"), self.shown: HIDDEN}
                return
            told = message("Choose an image to paint what is to be learned of it.")
            yield {self.said: told, self.shown: gr.update(value=images, visible=True)}

        outputs = [self.said, self.shown]
        self.look.click(show, inputs, outputs, api_visibility="private", show_progress="hidden")
        self.masks.follow(studio, asked, inputs, self.shown, show, outputs)
