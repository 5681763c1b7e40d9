"""What a run has learned becomes files that prompts can use: embeddings, and maybe a LoRA."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from webui.errors import AppError
from webui.files import contained, room_on_disk, write_whole
from webui.models.families import family_of_widths
from webui.prompting.loras import list_loras
from webui.training.runs.run_folder import InstalledFile
from webui.training.runs.run_state import RunState

if TYPE_CHECKING:
    from webui.embeddings.embedding import Embedding
    from webui.training.learned.step import LearnedStep

Install = Callable[["Embedding", dict[str, str], bool], Path]
"""Writes an embedding with its metadata, in place of another if it may, and returns its file."""

PLAIN_LORA = "lora.safetensors"
"""The LoRA in a run's folder, without embeddings, for programs that read it with none, such as
diffusers."""


class Installer:
    """Installs the steps of runs. What a run itself installed is replaced; other files are not,
    unless the person said so."""

    def __init__(self, install: Install, loras: Path) -> None:
        """``loras`` is the folder of LoRA files."""
        self._install, self._loras = install, loras

    def embeddings(
        self, run_state: RunState, learned: LearnedStep, names: Collection[str]
    ) -> tuple[InstalledFile, ...]:
        """Install the embeddings of these names; AppError for a name that is taken."""
        from webui.training.runs.runner import metadata_of

        record, files = run_state.record, []
        own = {each.name for each in run_state.status.installed}
        for embedding in learned.embeddings:
            if embedding.name in names:
                may_replace = record.overwrite or embedding.name in own
                path = self._install(embedding, metadata_of(record, embedding), may_replace)
                files.append(InstalledFile(embedding.name, str(path), embedding.step))
        return tuple(files)

    def lora(self, run_state: RunState, learned: LearnedStep) -> InstalledFile | None:
        """Install the LoRA, if there is one, with the embeddings inside it, and keep it alone in
        the run's folder; AppError for a name that is taken."""
        if not learned.lora:
            return None
        from webui.training.learned.lora import BASES, file_of
        from webui.training.runs.runner import metadata_of

        record, before = run_state.record, run_state.status.lora
        path = self._lora_called(record.title)
        if path and not (record.overwrite or (before and Path(before.path) == path)):
            raise AppError(lora_taken(record.title))
        path = path or contained(self._loras, f"{record.title}.safetensors")
        notes = metadata_of(record, learned.embeddings[0]) | {"ss_output_name": record.title}
        family = family_of_widths(learned.embeddings[0].widths)
        if family and family.key in BASES:
            notes["ss_base_model_version"] = BASES[family.key]
        with room_on_disk():
            write_whole(run_state.run.folder / PLAIN_LORA, file_of(learned.lora, (), notes))
            write_whole(path, file_of(learned.lora, learned.embeddings, notes))
        return InstalledFile(record.title, str(path), learned.step)

    def has_lora(self, title: str) -> bool:
        """Return whether there is a LoRA of this name."""
        return self._lora_called(title) is not None

    def _lora_called(self, title: str) -> Path | None:
        return list_loras(self._loras).get(title.casefold())


def lora_taken(title: str) -> str:
    """Say that there is a LoRA of this name."""
    return f"There is a LoRA “{title}” already. Choose another name, or replace it."
