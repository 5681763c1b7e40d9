"""What can be done with the image in the gallery that is looked at: the row of buttons below it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from webui.errors import AppError
from webui.files import room_on_disk
from webui.generation.metadata.infotext import embedding_hashes, read_infotext
from webui.generation.outputs import LOG, bring_back, discard, keep_copy
from webui.images import open_picture
from webui.studio.studio import Studio
from webui.ui.markup import message
from webui.ui.toasts import failure
from webui.ui.txt2img import results
from webui.ui.txt2img.apply_parameters import Target, apply_infotext
from webui.ui.txt2img.results import Entries, Results

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""In Gradio's queue: the page shows no message of what fails outside of it."""
AT_ONCE: dict[str, Any] = {**QUIET, "queue": False}
SAVED = "saved"
"""Folder below outputs/ for the images that were kept with *Save*."""


@dataclass(frozen=True)
class GalleryActions:
    """The buttons under the gallery."""

    studio: Studio
    outputs: Results
    reuse_seed: gr.Button
    to_controls: gr.Button
    to_png_info: gr.Button
    save: gr.Button
    delete: gr.Button
    undo: gr.Button
    clear: gr.Button
    card: gr.Dropdown
    """The card whose preview the image becomes."""
    to_card: gr.Button

    def connect(self, target: Target) -> None:
        """Connect what stays on the tab; ``target`` is where parameters go."""
        outputs = self.outputs
        looked_at = [outputs.entries, outputs.chosen]
        outputs.gallery.select(
            _looked_at,
            outputs.entries,
            [outputs.infotext, outputs.chosen, outputs.last_seed],
            **AT_ONCE,
        )
        outputs.gallery.change(
            None, outputs.gallery, None, js="(images) => window.lightbox.show(images)", **AT_ONCE
        )
        self.reuse_seed.click(
            None, outputs.last_seed, target.controls["seed"], js="(seed) => seed", **AT_ONCE
        )
        self.to_controls.click(
            lambda entries, place: self._apply(target, entries, place),
            looked_at,
            target.outputs(),
            **QUIET,
        )
        self.save.click(self._save, looked_at, outputs.messages, **QUIET)
        self.card.focus(self._choices, None, self.card, **AT_ONCE)
        self.to_card.click(self._set_preview, [*looked_at, self.card], outputs.messages, **QUIET)
        thrown = gr.JSON(visible="hidden")
        shown: list[Component] = [
            outputs.gallery,
            outputs.infotext,
            outputs.entries,
            outputs.chosen,
            outputs.last_seed,
        ]
        after_deleting = [*shown, self.undo, thrown]
        self.delete.click(self._delete, looked_at, after_deleting, **QUIET)
        self.undo.click(self._bring_back, [outputs.entries, thrown], after_deleting, **QUIET)
        self.clear.click(
            lambda: [*self._shown([], 0), "", ""],
            None,
            [*shown, outputs.bar, outputs.messages],
            **AT_ONCE,
        )

    def connect_png_info(self, picture: gr.Image, tabs: gr.Tabs) -> None:
        """Make a button show the image on the PNG Info tab, one of ``tabs``."""

        def send(entries: Entries, place: float) -> dict[Block, Any]:
            return {
                picture: str(results.picture_path(_entry(entries, place)["name"], self.studio)),
                tabs: gr.Tabs(selected="png-info"),
            }

        self.to_png_info.click(
            send, [self.outputs.entries, self.outputs.chosen], [picture, tabs], **QUIET
        )

    def _apply(self, target: Target, entries: Entries, place: float) -> dict[Component, Any]:
        return apply_infotext(self.studio, target, _entry(entries, place)["infotext"])

    def _save(self, entries: Entries, place: float) -> str:
        """Copy the image into the folder of kept ones and note it in their table."""
        entry = _entry(entries, place)
        folder = self.studio.settings.outputs_dir / SAVED
        try:
            path = results.picture_path(entry["name"], self.studio)
            with room_on_disk():
                copy = keep_copy(path, entry["infotext"], folder)
        except (AppError, OSError) as error:
            return message(f"The image could not be saved: {error}", "bad")
        return message(f"Saved as {SAVED}/{copy.name}, and noted in {SAVED}/{LOG}.", "good")

    def _choices(self) -> Any:
        cards = self.studio.library.snapshot().cards
        named = [(card.name, card.key) for card in cards if not card.problem]
        return gr.update(choices=named)

    def _set_preview(self, entries: Entries, place: float, key: str | None) -> str:
        """Make the image the preview of a card: the chosen one, or the first that it used."""
        entry = _entry(entries, place)
        names = embedding_hashes(read_infotext(entry["infotext"])[1])
        used = (self.studio.library.card(name) for name in names)
        card = self.studio.library.card_at(key) if key else next(filter(None, used), None)
        if card is None:
            return message("Choose a card; the image used no embedding that is here.", "warn")
        try:
            image = open_picture(results.picture_path(entry["name"], self.studio))
            self.studio.library.set_preview(card.name, image, card.path)
        except AppError as error:
            return message(str(error), "bad")
        return message(f"The card of {card.name} shows it now.", "good")

    def _delete(self, entries: Entries, place: float) -> list[Any]:
        """Move the image that is looked at to the trash and show the others."""
        gone, index = _entry(entries, place), int(place)
        self._move(discard, gone["name"])
        rest = entries[:index] + entries[index + 1 :]
        thrown = {"index": index, "entry": gone}
        return [*self._shown(rest, index), gr.update(visible=True), thrown]

    def _bring_back(self, entries: Entries, thrown: dict[str, Any]) -> list[Any]:
        """Move the image that was deleted last back to its place."""
        index, entry = thrown["index"], thrown["entry"]
        self._move(bring_back, entry["name"])
        back = [*entries[:index], entry, *entries[index:]]
        return [*self._shown(back, index), gr.update(visible=False), None]

    def _move(self, move: Callable[[Path, str], None], name: str) -> None:
        """Move an image of the outputs folder; what a person can mend becomes a message."""
        folder, _, rest = name.partition("/")
        try:
            results.picture_path(name, self.studio)
            move(self.studio.settings.outputs_dir / folder, rest)
        except AppError as error:
            raise failure(error) from error

    def _shown(self, entries: Entries, index: int) -> list[Any]:
        """Return gallery, parameters, entries, the chosen image's index, and its seed."""
        index = max(0, min(index, len(entries) - 1))
        files = results.files(entries, self.studio)
        gallery = gr.update(value=files, selected_index=index if entries else None)
        if not entries:
            return [gallery, "", [], 0, gr.skip()]
        return [gallery, entries[index]["infotext"], entries, index, entries[index]["seed"]]


def build(studio: Studio, outputs: Results) -> GalleryActions:
    """Build the buttons inside the open Blocks, and the parameters below them."""
    with gr.Row(elem_classes=["narrow"], elem_id="gallery-tools"):
        enlarge = _button("Enlarge", "enlarge-image")
        compare = _button("Compare", "compare-images")
        pixels = _button("Pixels", "show-pixels")
        reuse_seed = _button("Reuse seed", "reuse-its-seed")
        to_controls = _button("Use parameters", "send-controls")
        to_png_info = _button("Send to PNG Info", "send-png-info")
        save = _button("Save", "save-picture")
        delete = _button("Delete", "delete-picture")
        clear = _button("Clear", "clear-gallery")
    undo = gr.Button("Undo delete", size="sm", visible=False, elem_id="undo-picture")
    for button, act in ((enlarge, "open"), (compare, "compare"), (pixels, "togglePixels")):
        button.click(None, None, None, js=f"() => window.lightbox.{act}()", **AT_ONCE)
    outputs.infotext.render()
    with gr.Row(elem_classes=["narrow"], elem_id="preview-row"):
        card = gr.Dropdown(
            [],
            label="Card (none = the first embedding that the image used)",
            elem_id="preview-card",
            elem_classes=["names"],
            interactive=True,
            min_width=140,
        )
        to_card = gr.Button("Use as card preview", size="sm", elem_id="send-preview", min_width=80)
    return GalleryActions(
        studio, outputs, reuse_seed, to_controls, to_png_info, save, delete, undo, clear, card,
        to_card,
    )  # fmt: skip


def _button(label: str, elem_id: str) -> gr.Button:
    return gr.Button(label, size="sm", elem_id=elem_id, scale=0, min_width=0)


def _looked_at(entries: Entries, event: gr.SelectData) -> list[Any]:
    """Return the parameters of the image that is looked at, its index and its seed."""
    if event.index >= len(entries):
        return [gr.skip()] * 3
    entry = entries[event.index]
    return [entry["infotext"], event.index, entry["seed"]]


def _entry(entries: Entries, place: float) -> dict[str, Any]:
    """Return the image that is looked at; a message where there is none."""
    if not 0 <= int(place) < len(entries):
        raise failure("There is no image yet.")
    return entries[int(place)]
