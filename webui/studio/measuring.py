"""How good embeddings are: measured and drawn, for the terminal and the page."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.embeddings.formats import read_bundle
from webui.errors import AppError, Interrupted
from webui.generation.plots.grid import draw_grid
from webui.job_state import JobState
from webui.prompting.editing.calls import call_text
from webui.prompting.loras import list_loras
from webui.reader_process import shared_reader
from webui.studio.drawing import Drawing
from webui.studio.gpu import GpuGate
from webui.training.captions import preview_of
from webui.training.learned.step import LearnedStep
from webui.training.recipe import Recipe

if TYPE_CHECKING:
    from PIL import Image

    from webui.embeddings.embedding import Embedding
    from webui.embeddings.library import Card, EmbeddingLibrary
    from webui.models.model import Model
    from webui.training.dataset import Picture
    from webui.training.learned.lora import Lora
    from webui.training.score import Measured

log = logging.getLogger(__name__)

STRENGTHS = (0.6, 0.8, 1.0, 1.2)


@dataclass(frozen=True)
class Sheet:
    """What a contact sheet shows."""

    prompts: tuple[str, ...] = ()
    """With ``[name]``; empty = those of the recipe."""
    strengths: tuple[float, ...] = STRENGTHS
    seeds: tuple[int, ...] = (0,)

    def cells(self, recipe: Recipe) -> int:
        """Return how many images it has."""
        rows = len(self.prompts or recipe.preview_prompts) * len(self.seeds)
        return rows * (1 + len(self.strengths))


@dataclass(frozen=True)
class MeasuringView:
    """How far the measuring is; a new one takes its place with each change."""

    state: JobState = JobState.FINISHED
    name: str = ""
    """The embedding it is at."""
    done: int = 0
    total: int = 0
    """Images of that embedding's sheet."""
    measured: tuple[Measured, ...] = ()
    problems: tuple[str, ...] = ()


class Measuring:
    """Measures embeddings with the model in use; what the page asks for goes into their notes."""

    def __init__(
        self,
        gate: GpuGate,
        model: Callable[[], Model],
        drawing: Drawing,
        library: EmbeddingLibrary,
        runs: Path,
        loras: Path,
    ) -> None:
        """``runs`` is the folder of the training runs, whose images are measured on, ``loras`` that
        of LoRA files."""
        self._gate, self._model, self._drawing = gate, model, drawing
        self._library, self._runs, self._loras = library, runs, loras
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._view = MeasuringView()

    def start(self, keys: Sequence[str]) -> None:
        """Measure cards in the background and write the results into their notes.

        Raises AppError if one is gone or unusable, or something is being measured already.
        """
        cards = [self._usable(key) for key in keys]
        if not cards:
            raise AppError("Choose at least one embedding.")
        with self._changed:
            if not self._view.state.ended:
                raise AppError(f"“{self._view.name}” is being measured. Wait, or stop that first.")
            self._stop.clear()
            self._view = MeasuringView(JobState.QUEUED, cards[0].name)
        threading.Thread(target=self._run, args=(cards,), name="measure", daemon=True).start()

    def stop(self) -> None:
        """End after the image that is being drawn; what is measured is kept."""
        self._stop.set()

    def updates(self) -> Iterator[MeasuringView]:
        """Yield the view whenever it changed, and each second, until all is measured."""
        seen = None
        while seen is None or not seen.state.ended:
            with self._changed:
                if self._view is seen:
                    self._changed.wait(1.0)
                seen = self._view
            yield seen

    def measure(
        self, embedding: Embedding, initializer: str = "", pictures: Sequence[Picture] = ()
    ) -> tuple[Measured, Recipe, LearnedStep]:
        """Return an embedding's numbers, with what its run or its file knows, its recipe, and what
        was measured: it and the LoRA that was learned beside it, if there is one."""
        from webui.training.score import measure, run_of

        recipe, model = Recipe(), self._model()
        learned = LearnedStep(embedding.step or 0, (embedding,))
        if run := run_of(embedding, self._runs):
            record = run.record()
            learned = replace(learned, lora=run.read_checkpoint(learned.step).lora)
            number = record.names.index(embedding.name)
            recipe = record.recipe
            initializer = initializer or record.concepts[number].initializer
            pictures = pictures or [
                replace(picture, concept=0)
                for picture in run.pictures()
                if picture.concept == number
            ]
        elif card := self._library.card(embedding.name):
            if not initializer and not card.problem:
                initializer = self._library.metadata(card.name).get("initializer", "")
        if not run:
            learned = replace(learned, lora=self._lora_of(embedding, model))
        with self._gate.hold("measuring an embedding", self._stop.is_set):
            found = measure(embedding, model, initializer, pictures, recipe, learned.lora)
        return found, recipe, learned

    def _lora_of(self, embedding: Embedding, model: Model) -> Lora:
        """Return the LoRA of the file that brings just these vectors along: the embedding's own, or
        one of its name among the LoRAs. None where there is none that can be measured."""
        from webui.training.learned.lora import lora_in

        named = (
            path
            for path in dict.fromkeys(list_loras(self._loras).values())
            if embedding.name in path.stem.split("+")
        )
        own = (embedding.source,) if embedding.source else ()
        for path in (*own, *named):
            try:
                brought = read_bundle(path, shared_reader())
                if any(each.content_hash == embedding.content_hash for each in brought):
                    return lora_in(path, model.unet)
            except AppError as problem:
                log.warning("“%s” is measured without its LoRA: %s", embedding.name, problem)
        return {}

    def draw(
        self,
        learned: LearnedStep,
        measured: Measured,
        recipe: Recipe,
        sheet: Sheet,
        drawn: Callable[[], object],
    ) -> Image.Image:
        """Draw prompts and seeds downwards, the words compared with and the strengths across.

        What was learned beside the embedding is in the images of its strengths.

        ``drawn`` is called after each image. Raises Interrupted after ``stop``.
        """
        (embedding,) = learned.embeddings
        words: list[tuple[str, LearnedStep | None]] = [(measured.compared_with, None)]
        words += [
            (call_text(embedding.name, weight=strength), learned) for strength in sheet.strengths
        ]
        prompts = sheet.prompts or recipe.preview_prompts
        model = self._model()
        rows = [(prompt, seed) for prompt in prompts for seed in sheet.seeds]
        cells = []
        for prompt, seed in rows:
            for word, drawn_with in words:
                asked = [preview_of(recipe, prompt, word)]
                cells += self._drawing.images(model, asked, drawn_with, seed, self._stop.is_set)
                drawn()
        across = [measured.compared_with, *(f"× {strength:g}" for strength in sheet.strengths)]
        down = [f"{prompt}, seed {seed}" for prompt, seed in rows]
        return draw_grid(cells, across, down, [in_a_line(measured)])

    def _usable(self, key: str) -> Card:
        card = self._library.card_at(key)
        if card is None or not card.usable:
            raise AppError("Only embeddings that can be used can be measured.")
        return card

    def _run(self, cards: Sequence[Card]) -> None:
        state = JobState.FINISHED
        for card in cards:
            try:
                self._measure_card(card)
            except Interrupted:
                state = JobState.STOPPED
                break
            except AppError as error:
                self._problem(f"{card.name}: {error}")
            except Exception:
                log.exception("Measuring %s failed.", card.name)
                self._problem(f"{card.name}: an unexpected error ended it; see the log.")
        failed = self._view.problems and not self._view.measured
        self._publish(state=JobState.FAILED if failed else state)

    def _measure_card(self, card: Card) -> None:
        self._publish(state=JobState.DRAWING, name=card.name, done=0, total=0)
        embedding = self._library.get(card.name)
        if embedding is None:
            raise AppError("Its file is gone.")
        measured, recipe, learned = self.measure(embedding)
        sheet = Sheet()
        self._publish(total=sheet.cells(recipe))
        image = self.draw(
            learned, measured, recipe, sheet, lambda: self._publish(done=self._view.done + 1)
        )
        figures = {
            **asdict(measured),
            "content hash": embedding.content_hash,
            "model": self._model().name,
        }
        self._library.save_measured(card.name, figures, image, card.path)
        self._publish(measured=(*self._view.measured, measured))

    def _problem(self, text: str) -> None:
        self._publish(problems=(*self._view.problems, text))

    def _publish(self, **changes: Any) -> None:
        with self._changed:
            self._view = replace(self._view, **changes)
            self._changed.notify_all()


def in_a_line(item: Measured) -> str:
    """Return an embedding's numbers for people."""
    gain = "no images to measure the gain"
    if item.gain is not None:
        gain = f"gain {item.gain:.1%} ± {item.error:.1%}"
    return (
        f"{item.name}: {item.vectors} vectors, {gain}, editability {item.editability:.2f}, "
        f"norm {item.norm_ratio:.2f} of a word's; compared with “{item.compared_with}”"
        + (" without the LoRA that it was measured with" if item.with_lora else "")
        + (f"; {item.verdict}" if item.verdict else "")
    )


def image_bytes(image: Image.Image, kind: str) -> bytes:
    """Return an image as a file of a format of Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()
