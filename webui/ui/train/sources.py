"""Where the training images come from: uploads with their captions, or a folder of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from webui.archives import is_archive, unpacked_beside
from webui.errors import AppError, BadField
from webui.settings import LOCAL_HOSTS
from webui.studio.studio import Studio
from webui.training.dataset import HOW_MANY, TAKEN, find_pictures, is_picture


class Sources:
    """The two controls, inside the open Blocks; ``paths`` reads them."""

    def __init__(self, studio: Studio) -> None:
        self._local = studio.settings.host in LOCAL_HOSTS
        self.uploads = gr.File(
            label=f"{HOW_MANY} images of one thing (and .txt captions), or a .zip",
            file_count="multiple",
            height=140,
            elem_id="train-pictures",
        )
        self.folder = gr.Textbox(
            label="Or a folder of this machine",
            placeholder="/home/me/pictures/mug",
            info="For several names at once, such as my_mug, my_cup: a folder with a sub-folder "
            "called like each. Uploads belong to the name that their file names begin with, or to "
            "that of their folder in a zip.",
            max_lines=1,
            elem_id="train-folder",
            visible=self._local,
        )

    def paths(self, data: Mapping[Any, Any]) -> tuple[Path, ...]:
        """Return the files for the values of the two controls, by component.

        Raises BadField for a folder that cannot be read, AppError for a zip that cannot. Only
        people at this machine may name a folder: elsewhere its pictures would be a way to look at
        its disk.
        """
        files: list[Path] = []
        for path in map(Path, data[self.uploads] or []):
            if is_archive(path):  # captions and masks lie beside the images there
                inside = sorted(unpacked_beside(path, TAKEN).rglob("*.*"))
                files += [each for each in inside if is_picture(each)]
            else:
                files.append(path)
        folder = (data[self.folder] or "").strip()
        if folder and not self._local:
            raise BadField("folder", "A folder can be named on the machine itself only.")
        if folder:
            try:
                files += find_pictures(Path(folder).expanduser())[0]
            except (AppError, OSError, ValueError) as error:
                raise BadField("folder", f"There is no folder {folder} to be read.") from error
        return tuple(files)
