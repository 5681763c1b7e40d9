"""What is learned of a training image, painted over it by hand and kept as the image's mask."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from webui.errors import AppError
from webui.studio.measuring import image_bytes
from webui.studio.studio import Studio
from webui.training.dataset import put_mask
from webui.training.request import TrainingRequest
from webui.ui.markup import message

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
PAINT = (124, 58, 237)
LOOK_THROUGH = 150
"""Of 255: how much of the image the paint hides."""
MOST_OPEN = 64
"""Editors that are remembered; those used last are kept."""
MOST_UNDONE = 100
"""Changes of masks that can be undone in one of them."""


@dataclass
class Painting:
    """What is painted on in one open tab."""

    place: Path
    """The mask's file."""
    replaced: deque[tuple[Path, bytes | None]] = field(
        default_factory=lambda: deque(maxlen=MOST_UNDONE)
    )
    """Masks and what was there before each, the latest last."""


class Masks:
    """The editor and its buttons, inside the open Blocks; hidden until an image is chosen."""

    def __init__(self) -> None:
        with gr.Column(visible=False, elem_id="train-mask") as self.whole:
            self.said = gr.HTML(elem_id="train-mask-said", js_on_load=None)
            self.editor = gr.ImageEditor(
                type="pil",
                format="png",
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(colors=["#7c3aed"], color_mode="fixed", default_size=40),
                buttons=[],
                show_label=False,
                elem_id="train-mask-editor",
            )
            with gr.Row(elem_classes=["narrow"]):
                self.keep = gr.Button("Use this mask", size="sm", elem_id="train-mask-keep")
                self.drop = gr.Button("Remove the mask", size="sm", elem_id="train-mask-drop")
                self.undo = gr.Button(
                    "Undo", size="sm", interactive=False, elem_id="train-mask-undo"
                )
            self._key = gr.Textbox(visible="hidden")
            """Of the tab's painting: which file it writes is none of the browser's business, and a
            state of Gradio's would hold a connection open for each tab."""
            self._changed = gr.Number(0, visible="hidden")
        self._paintings: OrderedDict[str, Painting] = OrderedDict()

    def follow(
        self,
        studio: Studio,
        asked: Callable[[Mapping[Any, Any]], TrainingRequest],
        inputs: set[Any],
        shown: gr.Gallery,
        show: Callable[[Mapping[Any, Any]], Any],
        outputs: list[Any],
    ) -> None:
        """Open the editor for the image of ``shown`` that is chosen. When its mask has changed, the
        images are shown anew, which ``show`` does for ``outputs``."""

        def open_editor(data: Mapping[Any, Any], event: gr.SelectData) -> dict[Any, Any]:
            try:
                found = studio.training.trials.to_paint(asked(data), event.index)
            except AppError as error:
                return {self.said: message(str(error), "warn"), self.whole: gr.update(visible=True)}
            paint = Image.new("RGBA", found.image.size, (*PAINT, 0))
            if found.mask is not None:
                paint.putalpha(found.mask.point(lambda value: LOOK_THROUGH if value > 127 else 0))
            value = {"background": found.image, "layers": [paint], "composite": None}
            told = "Paint over what is to be learned. What you leave out does not count."
            return {
                self.said: message(f"{found.name}: {told}"),
                self.editor: value,
                self.whole: gr.update(visible=True),
                self._key: self._open(data[self._key], found.place),
            }

        def put(key: str, content: bytes | None) -> dict[Any, Any]:
            if (painting := self._paintings.get(key)) is None:
                return {self.said: message("Choose the image again.", "warn")}
            try:
                before = put_mask(painting.place, content)
            except AppError as error:
                return {self.said: message(str(error), "bad")}
            painting.replaced.append((painting.place, before))
            return self._told(painting)

        def keep(value: Any, key: str) -> dict[Any, Any]:
            painted = mask_of(value)
            if painted is None:
                return {self.said: message("Nothing is painted yet.", "warn")}
            return put(key, painted)

        def undo(key: str) -> dict[Any, Any]:
            painting = self._paintings.get(key)
            if painting is None or not painting.replaced:
                return {self.undo: gr.update(interactive=False)}
            try:
                put_mask(*painting.replaced[-1])
            except AppError as error:
                return {self.said: message(str(error), "bad")}
            painting.replaced.pop()
            return self._told(painting)

        opened = [self.said, self.editor, self.whole, self._key]
        shown.select(open_editor, inputs | {self._key}, opened, **QUIET)
        changed = [self.said, self.undo, self._changed]
        self.keep.click(keep, [self.editor, self._key], changed, **QUIET)
        self.drop.click(lambda key: put(key, None), self._key, changed, **QUIET)
        self.undo.click(undo, self._key, changed, **QUIET)
        self._changed.change(show, inputs, outputs, **QUIET)

    def _open(self, key: str | None, place: Path) -> str:
        """Note which file a tab paints; return the tab's key, a new one if it has none."""
        if key is None or key not in self._paintings:
            key = secrets.token_urlsafe(16)
        self._paintings.setdefault(key, Painting(place)).place = place
        self._paintings.move_to_end(key)
        while len(self._paintings) > MOST_OPEN:
            self._paintings.popitem(last=False)
        return key

    def _told(self, painting: Painting) -> dict[Any, Any]:
        return {
            self.said: message("Above you see what counts of it now.", "good"),
            self.undo: gr.update(interactive=bool(painting.replaced)),
            self._changed: secrets.randbelow(1 << 30),
        }


def mask_of(value: Mapping[str, Any]) -> bytes | None:
    """Return what is painted in an editor as the file of a mask, white where it counts; None where
    nothing is."""
    alphas = [np.asarray(layer)[..., 3] for layer in value["layers"]]  # [h, w] each
    painted = np.max(alphas, axis=0) > LOOK_THROUGH // 2 if alphas else np.zeros(1, bool)
    if not painted.any():
        return None
    return image_bytes(Image.fromarray(painted.astype(np.uint8) * 255), "PNG")
