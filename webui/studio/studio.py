"""The one object behind page, API and terminal: it owns the parts and hands them over."""

from __future__ import annotations

import logging
import shutil
import threading
from dataclasses import replace
from pathlib import Path

from webui.embeddings import formats
from webui.embeddings.embedding import Embedding
from webui.embeddings.library import Card, EmbeddingLibrary
from webui.errors import AppError
from webui.generation.file_names import Naming
from webui.generation.outputs import finish_broken_off
from webui.generation.styles import Styles
from webui.images import open_picture
from webui.prompting.lookup import unfit
from webui.reader_process import shared_reader
from webui.settings import INSTALLED, LOCAL_HOSTS, ROOT, SHIPPED, Settings
from webui.studio.civitai import CivitaiLookup
from webui.studio.downloads import Downloads
from webui.studio.drawing import Drawing
from webui.studio.generating import Generating
from webui.studio.gpu import GpuGate
from webui.studio.measuring import Measuring
from webui.studio.models_in_use import ModelsInUse
from webui.studio.picture_history import PictureHistory
from webui.studio.plotting import Plotting
from webui.studio.training.runs import TrainingRuns

log = logging.getLogger(__name__)

FIRST_READING_S = 3.0
"""So long the start waits for embeddings that were never seen before."""


class Studio:
    """Owns the library, the model, the gate before the GPU, and everything that computes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._closed = False
        naming = Naming(settings.filename_pattern, settings.folder_pattern)
        naming.check()
        self.gate = GpuGate()
        self.library = EmbeddingLibrary(
            settings.embeddings_dirs,
            settings.cache_dir / "embeddings.sqlite",
            shared_reader(),
        )
        self.models = ModelsInUse(
            settings.models_dir,
            self.gate,
            settings.device,
            settings.precision,
            settings.cache_dir / "checkpoint-hashes.json",
            settings.more_models_dirs,
            offload=settings.offload,
            compiled=settings.compiled,
        )
        self.civitai = CivitaiLookup(self.library)
        self.downloads = Downloads(settings.models_dir)
        self.styles = Styles(settings.styles_file)
        self.drawing = Drawing(
            self.gate,
            self.models,
            self.library,
            (settings.models_dir, *settings.more_models_dirs),
        )
        self.generating = Generating(
            settings.outputs_dir / "txt2img",
            self.gate,
            self.models,
            self.drawing,
            self.styles,
            naming,
        )
        self.plotting = Plotting(
            self.generating,
            self.drawing,
            self.models,
            self.library,
            self.styles,
            settings.outputs_dir / "train",
            settings.outputs_dir / "grids",
        )
        self.measuring = Measuring(
            self.gate,
            self.models.get,
            self.drawing,
            self.library,
            settings.outputs_dir / "train",
            settings.models_dir / "lora",
        )
        self.history = PictureHistory(settings.outputs_dir / "txt2img")
        self.training = TrainingRuns(
            settings.outputs_dir / "train",
            self.gate,
            self.models.get,
            self.drawing.images,
            self.library.install,
            settings.models_dir / "lora",
            self.library.names,
            self._show_on_card,
            self.embedding,
        )

    def embedding(self, name: str) -> Embedding:
        """Return the embedding of a name; for people at this machine also that of a file.

        Raises AppError if there is none, or it cannot be read.
        """
        if found := self.library.get(name):
            return found
        if self.settings.host not in LOCAL_HOSTS:
            raise AppError(f"There is no embedding “{name}” that can be used.")
        path = Path(name).expanduser()
        if not path.is_file():
            raise AppError(f"There is neither an embedding nor a file “{name}”.")
        return replace(formats.read(path, shared_reader()), name=path.stem)

    def _show_on_card(self, name: str, image: Path, replaces: bool) -> None:
        """Give a card an image, unless it has one that is to stay."""
        card = self.library.card(name)
        if card is not None and (replaces or card.preview is None):
            self.library.set_preview(name, open_picture(image), card.path)

    def open(self) -> None:
        """Make the folders, read the embeddings, watch them, and say which there are."""
        settings = self.settings
        if INSTALLED and not (ROOT / "embeddings").exists():
            shutil.copytree(SHIPPED / "embeddings", ROOT / "embeddings")
        for folder in (settings.models_dir, *settings.embeddings_dirs, settings.outputs_dir):
            folder.mkdir(parents=True, exist_ok=True)
        finish_broken_off(settings.outputs_dir)
        reading = threading.Thread(target=self._read_embeddings, name="reading", daemon=True)
        reading.start()
        reading.join(FIRST_READING_S)
        if reading.is_alive():
            log.info(
                "%d embeddings so far; the page is served while the others are read.",
                len(self.library.names()),
            )

    def _read_embeddings(self) -> None:
        try:
            self.library.start()
        except Exception:
            if not self._closed:
                raise
            return
        names = sorted(self.library.names(), key=str.lower)
        log.info("Loaded a total of %d textual inversion embeddings.", len(names))
        log.info("Embeddings: %s", ", ".join(names))
        for card in self.library.snapshot().cards:
            if card.problem:
                log.warning("Skipped %s: %s", card.path.name, card.problem)
        self.history.look()

    def close(self) -> None:
        """End the background work; a training run is saved so that it can be resumed."""
        self._closed = True
        self.civitai.stop()
        self.downloads.close()
        self.training.close()
        self.generating.stop()
        self.measuring.stop()
        self.library.stop()

    def why_unusable(self, card: Card) -> str | None:
        """Say why a card's embedding cannot be used with the loaded model, or None if it can."""
        if card.problem:
            return card.problem
        if card.shadowed_by:
            return f"Another file of the same name is used in its place: {card.shadowed_by}."
        model = self.models.state.model
        return unfit(card, model.widths, model.name) if model else None
