"""One embedding to be trained, as a file or the command line asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from webui.declared import STRICT, Declared, Setting, fields_of
from webui.training.presets import PRESETS, preset
from webui.training.recipe import Recipe


def _known_preset(key: str) -> str:
    if key not in PRESETS:
        raise ValueError(f"There is no preset “{key}”; there are {', '.join(PRESETS)}.")
    return key


@dataclass(frozen=True, config=STRICT)
class Job(Declared):
    """What is asked for before model and pictures are looked at; BadField for impossible values."""

    name: Annotated[str, Setting(kohya="output_name")] = ""
    """What will be written in prompts."""
    data: Annotated[Path | None, Setting(kohya="train_data_dir")] = None
    """Folder of pictures."""
    initializer: Annotated[str, Setting(kohya="init_word", old=("init",))] = ""
    """The words that come closest."""
    preset: Annotated[str, AfterValidator(_known_preset)] = "object"
    """Its settings hold where nothing else is said; object if left out."""
    overwrite: bool = False
    """An embedding of the same name is replaced."""
    model: str | None = None
    """Name below the models folder; else as the app chooses."""
    models_dir: Path | None = None
    """Folder in place of the app's."""
    embeddings_dir: Annotated[Path | None, Setting(kohya="output_dir")] = None
    """Folder in place of the app's."""
    outputs_dir: Path | None = None
    """Folder in place of the app's."""
    device: str | None = None
    """auto, cpu, cuda, cuda:1 or mps."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Settings of ``Recipe`` in place of the preset's."""
    notes: tuple[str, ...] = ()
    """What to tell the person about settings that were not taken over."""

    def recipe_for(self, family: str) -> Recipe:
        """Return the whole recipe for a model family; raises BadField for values out of range."""
        return replace(preset(self.preset, family), **self.recipe)


KEYS = tuple(name for name in fields_of(Job) if name not in ("recipe", "notes"))
"""What a file can say of a job beside its recipe."""
FOLDERS = tuple(name for name in KEYS if fields_of(Job)[name].annotation == Path | None)
"""Those of them that are folders."""
