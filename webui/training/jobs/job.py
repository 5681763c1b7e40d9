"""One embedding to be trained, as a file or the command line asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from webui.declarations import declarations_of, declared
from webui.training.captions import read_templates
from webui.training.learned.concepts import names_in
from webui.training.presets import PRESETS, preset
from webui.training.recipe import Recipe, Setting


def _names(text: str) -> str:
    return ", ".join(names_in(text))


@dataclass(frozen=True)
class Job:
    """What is asked for before model and pictures are looked at; BadField for impossible values."""

    # fmt: off
    name: str = declared(
        "",
        Setting(
            after=_names,
            label="Name", kohya="output_name",
            help="What will be written in prompts. Several, with commas between them, are learned "
            "in one run; the images of each lie in a sub-folder called like it.",
        ),
    )
    data: Path | None = declared(
        None,
        Setting(
            label="Data", kohya="train_data_dir", help="Folder of images, or a zip of one."
        ),
    )
    initializer: str = declared(
        "",
        Setting(
            label="Initializer", kohya="init_word", old=("init",),
            help="The words that come closest; of several names one for each, with commas, or one "
            "for all.",
        ),
    )
    preset: str = declared(
        "object",
        Setting(
            label="Preset", choices=PRESETS,
            help="Its settings hold where nothing else is said; object if left out.",
        ),
    )
    template_file: Path | None = declared(
        None,
        Setting(
            label="Template file",
            help="Caption templates as A1111 has them: lines that hold `[name]`, maybe "
            "`[filewords]`.",
        ),
    )
    overwrite: bool = declared(
        False, Setting(label="Overwrite", help="An embedding of the same name is replaced.")
    )
    model: str | None = declared(
        None,
        Setting(label="Model", help="Name below the models folder; else as the app chooses."),
    )
    models_dir: Path | None = declared(
        None, Setting(label="Models folder", help="In place of the app's.")
    )
    embeddings_dir: Path | None = declared(
        None,
        Setting(label="Embeddings folder", kohya="output_dir", help="In place of the app's."),
    )
    outputs_dir: Path | None = declared(
        None, Setting(label="Outputs folder", help="In place of the app's.")
    )
    device: str | None = declared(
        None, Setting(label="Device", help="auto, cpu, cuda, cuda:1 or mps.")
    )
    # fmt: on
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Settings of ``Recipe`` in place of the preset's."""
    notes: tuple[str, ...] = ()
    """What to tell the person about settings that were not taken over."""

    def __post_init__(self) -> None:
        for name, setting in ASKED.items():
            object.__setattr__(self, name, setting.check(getattr(self, name)))

    def recipe_for(self, family: str) -> Recipe:
        """Return the whole recipe for a model family.

        Raises BadField for values out of range, and AppError for templates that cannot be read.
        """
        settings = dict(self.recipe)
        if self.template_file:
            settings.setdefault("templates", read_templates(self.template_file))
        return replace(preset(self.preset, family), **settings)


ASKED = declarations_of(Job, Setting)
"""What a file can say of a job beside its recipe."""
