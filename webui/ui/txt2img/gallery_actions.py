"""What can be done with the image in the gallery that is looked at, besides deleting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from webui.errors import AppError
from webui.files import room_on_disk
from webui.generation.metadata.infotext import embedding_hashes, read_infotext
from webui.generation.outputs import LOG, keep_copy
from webui.images import open_picture
from webui.studio.studio import Studio
from webui.ui.markup import message
from webui.ui.toasts import failure
from webui.ui.txt2img import results
from webui.ui.txt2img.apply_parameters import Target, apply_infotext
from webui.ui.txt2img.results import Results

QUIET: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
SAVED = "saved"
"""Folder below outputs/ for the images that were kept with *Save*."""
Entries = list[dict[str, str]]


@dataclass(frozen=True)
class GalleryActions:
    """The buttons under the gallery."""

    studio: Studio
    outputs: Results
    to_png_info: gr.Button
    to_controls: gr.Button
    save: gr.Button
    to_card: gr.Button
    clear: gr.Button
    card: gr.Dropdown
    """The card whose preview the image becomes."""

    def connect(self, target: Target) -> None:
        """Connect what stays on the tab; ``target`` is where parameters go."""
        looked_at = [self.outputs.entries, self.outputs.chosen]
        self.to_controls.click(
            lambda entries, place: self._apply(target, entries, place),
            looked_at,
            target.outputs(),
            **QUIET,
        )
        self.save.click(self._save, looked_at, self.outputs.messages, **QUIET)
        self.card.focus(self._choices, None, self.card, **QUIET)
        self.to_card.click(
            self._set_preview, [*looked_at, self.card], self.outputs.messages, **QUIET
        )
        emptied = [
            self.outputs.gallery,
            self.outputs.infotext,
            self.outputs.entries,
            self.outputs.chosen,
            self.outputs.delete,
            self.outputs.bar,
            self.outputs.messages,
        ]
        self.clear.click(self._clear, None, emptied, **QUIET)

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

    def _clear(self) -> dict[Component, Any]:
        """Empty the gallery; the files stay."""
        outputs = self.outputs
        return {
            outputs.gallery: gr.update(value=[], selected_index=None),
            outputs.infotext: "",
            outputs.entries: [],
            outputs.chosen: 0,
            outputs.delete: gr.update(interactive=False),
            outputs.bar: "",
            outputs.messages: "",
        }


def build(studio: Studio, outputs: Results) -> GalleryActions:
    """Build the buttons inside the open Blocks."""
    with gr.Row(elem_classes=["narrow"]):
        to_png_info = _button("Send to PNG Info", "send-png-info")
        to_controls = _button("Use its parameters", "send-controls")
        save = _button("Save", "save-picture")
        clear = _button("Clear", "clear-gallery")
    with gr.Row(elem_classes=["narrow"], elem_id="preview-row"):
        card = gr.Dropdown(
            [],
            label="Card (none = the first embedding that the image used)",
            elem_id="preview-card",
            interactive=True,
            min_width=140,
        )
        to_card = _button("Use as card preview", "send-preview")
    return GalleryActions(studio, outputs, to_png_info, to_controls, save, to_card, clear, card)


def _button(label: str, elem_id: str) -> gr.Button:
    return gr.Button(label, size="sm", elem_id=elem_id, min_width=80)


def _entry(entries: Entries, place: float) -> dict[str, str]:
    """Return the image that is looked at; a message where there is none."""
    if not 0 <= int(place) < len(entries):
        raise failure("There is no image yet.")
    return entries[int(place)]
