"""X/Y/Z plots as jobs: cell after cell is drawn, then all of them as one labelled picture."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui.embeddings.library import EmbeddingLibrary
from webui.errors import AppError, BadField, Interrupted
from webui.generation.metadata.infotext import with_pairs
from webui.generation.outputs import make_grid, save_picture
from webui.generation.plots.grid import Drawn, draw_grid, small_enough
from webui.generation.plots.xyz import Cell, Plan, PlotContext, TrainedRun, plan
from webui.generation.request import GenerationRequest
from webui.generation.styles import Styles
from webui.models.families import incompatibility
from webui.studio.generating import (
    PREVIEW_EVERY_S,
    Generating,
    GenerationJob,
    SavedPicture,
    explain,
)
from webui.studio.gpu import GpuGate
from webui.studio.library_overlay import LibraryOverlay
from webui.studio.models_in_use import ModelsInUse
from webui.training.runs.run_folder import Run, list_runs

if TYPE_CHECKING:
    from webui.generation.engine import Picture, StepDone
    from webui.models.model import Model
    from webui.prompting.source import EmbeddingSource

log = logging.getLogger(__name__)


class Plotting:
    """Draws plots; between two cells the gate is free, so that others get their turn."""

    def __init__(
        self,
        generating: Generating,
        gate: GpuGate,
        models: ModelsInUse,
        library: EmbeddingLibrary,
        styles: Styles,
        loras: Path,
        runs: Path,
        grids: Path,
    ) -> None:
        """``runs`` is the folder of the training runs, ``grids`` that of the finished plots."""
        self._generating, self._gate, self._models = generating, gate, models
        self._library, self._styles = library, styles
        self._loras, self._runs, self._grids = loras, runs, grids

    def runs(self) -> list[TrainedRun]:
        """Return the training runs that have kept steps, the latest first."""
        found = []
        for run in list_runs(self._runs):
            try:
                steps = run.checkpoints()
                if steps:
                    found.append(TrainedRun(run.run_id, run.record().name, steps))
            except AppError as problem:
                log.warning("skipped a run: %s", problem)
        return found

    def here(self, run_id: str | None = None) -> PlotContext:
        """Return what values can name now, with the steps of a training run."""
        model = self._models.state.model
        embeddings = {
            card.name: card.explicit_only
            for card in self._library.snapshot().cards
            if card.usable
            and (model is None or incompatibility(card.widths, model.widths, model.name) is None)
        }
        run = next((run for run in self.runs() if run.run_id == run_id), None)
        return PlotContext(embeddings, self._models.names(), run)

    def start(
        self,
        request: GenerationRequest,
        chosen: Sequence[tuple[str, str]],
        run_id: str | None = None,
    ) -> GenerationJob:
        """Start drawing a plot in the background.

        ``chosen`` is as in ``webui.generation.plots.xyz.plan``. Raises BadField if something in the
        request or the axes cannot be used.
        """
        here = self.here(run_id)
        steps = [number for number, (name, _) in enumerate(chosen) if name == "Training step"]
        if steps and here.run is None:
            raise BadField("xyz_run", "Choose a training run that has kept some of its steps.")
        plotted = plan(self._styles.applied(request), chosen, here)
        job = GenerationJob(plotted.request, self._generating.folder)
        job.publish(is_plot=True)
        self._generating.remember(job)
        threading.Thread(
            target=self._run, args=(job, plotted, here.run), name="plot", daemon=True
        ).start()
        return job

    def _run(self, job: GenerationJob, plotted: Plan, run: TrainedRun | None) -> None:
        before = self._models.state.name
        try:
            job.publish(waiting_for=self._gate.owner)
            _Drawing(self, job, plotted, run).draw()
            job.publish(state="done", preview=None, eta_s=0.0)
        except Interrupted:
            job.publish(state="interrupted", preview=None, eta_s=None)
        except AppError as error:
            job.publish(state="failed", problem=str(error))
        except Exception as error:
            log.exception("A plot failed.")
            job.publish(state="failed", problem=explain(error))
        finally:
            if any(cell.checkpoint for cell in plotted.cells):
                self._bring_back(before)

    def _bring_back(self, checkpoint: str) -> None:
        """Load the model again that was in use before the plot."""
        try:
            if checkpoint != self._models.state.name:
                self._models.switch(checkpoint)
        except AppError as error:
            log.warning("The model from before the plot is gone: %s", error)

    def _source(self, cell: Cell, run: TrainedRun | None, model: Model) -> EmbeddingSource:
        """Return the library, with the vectors of a training step where the cell asks for one."""
        if cell.training_step is None or run is None:
            return self._library
        from webui.training.runs.runner import embedding_of

        kept = Run(self._runs / run.run_id)
        vectors = kept.read_checkpoint(cell.training_step)
        embedding = embedding_of(kept.record(), vectors, cell.training_step)
        problem = incompatibility(embedding.widths, model.widths, model.name)
        if problem is not None:
            raise AppError(problem)
        return LibraryOverlay(self._library, embedding)


class _Drawing:
    """One plot on its way."""

    def __init__(
        self, plotting: Plotting, job: GenerationJob, plotted: Plan, run: TrainedRun | None
    ) -> None:
        self._plotting, self._job, self._plan, self._run = plotting, job, plotted, run
        self._drawn: list[Drawn] = [None] * len(plotted.cells)
        self._infotexts: list[str | None] = [None] * len(plotted.cells)
        self._warnings: dict[str, None] = {}
        self._in_use: Model | None = None
        self._steps_before = 0
        self._steps = sum(cell.request.all_steps for cell in plotted.cells)
        self._started = self._shown = time.monotonic()

    def draw(self) -> None:
        """Draw all cells and the grid; an interrupted plot keeps a grid of what there is."""
        self._job.publish(state="drawing", steps=self._steps)
        cells = self._plan.cells
        checkpoints = list(dict.fromkeys(cell.checkpoint for cell in cells))
        by_model = sorted(range(len(cells)), key=lambda n: checkpoints.index(cells[n].checkpoint))
        try:
            for number in by_model:
                self._draw_cell(number)
        finally:
            if any(self._infotexts):
                self._save_grid()

    def _draw_cell(self, number: int) -> None:
        """Draw a cell; where that is impossible, the reason stands in its place."""
        cell, job = self._plan.cells[number], self._job
        if job.stopped:
            raise Interrupted("Interrupted.")
        try:
            model = self._model(cell)
            source = self._plotting._source(cell, self._run, model)
            with self._plotting._gate.hold("a plot", given_up=lambda: job.stopped):
                self._draw_pictures(number, cell, model, source)
        except Interrupted:
            raise
        except AppError as problem:
            self._warnings[str(problem)] = None
            job.publish(warnings=tuple(self._warnings))
            self._drawn[number] = str(problem)
        self._steps_before += cell.request.all_steps

    def _model(self, cell: Cell) -> Model:
        """Return the model of a cell; one for all that name none, whatever is chosen meanwhile."""
        models = self._plotting._models
        if cell.checkpoint is None:
            self._in_use = self._in_use or models.get()
            return self._in_use
        models.switch(cell.checkpoint)
        model = models.get()
        if model.name != cell.checkpoint:
            raise AppError(f"Another model was chosen while {cell.checkpoint} was being loaded.")
        return model

    def _draw_pictures(
        self, number: int, cell: Cell, model: Model, source: EmbeddingSource
    ) -> None:
        """Draw the pictures of a cell; an interrupted one keeps those that are finished."""
        from webui.generation.engine import Picture, generate

        plotting, job = self._plotting, self._job
        finished: list[Image.Image] = []
        try:
            for event in generate(
                model,
                cell.request,
                source,
                plotting._generating.conditioner(),
                loras=plotting._loras,
                stopped=lambda: job.stopped,
                skipped=job.take_skip,
            ):
                if isinstance(event, Picture):
                    self._keep(number, cell, event)
                    finished.append(event.image)
                else:
                    self._tell(event, model)
        finally:
            if finished:
                self._drawn[number] = small_enough(make_grid(finished), len(self._drawn))

    def _keep(self, number: int, cell: Cell, picture: Picture) -> None:
        """Save a picture of a cell with parameters of its own."""
        infotext = picture.infotext
        if cell.training_step is not None and self._run is not None:
            step = {"Training run": self._run.run_id, "Training step": cell.training_step}
            infotext = with_pairs(infotext, step)
        path = save_picture(picture.image, infotext, picture.seed, self._job.folder)
        saved = SavedPicture(path, picture.seed, infotext, picture.used)
        self._infotexts[number] = self._infotexts[number] or infotext
        self._warnings |= dict.fromkeys(picture.warnings)
        self._job.publish(
            pictures=(*self._job.view.pictures, saved), warnings=tuple(self._warnings)
        )

    def _tell(self, done: StepDone, model: Model) -> None:
        """Publish how far the plot is."""
        now = time.monotonic()
        previewer = self._plotting._generating.previewer_of(model)
        if now - self._shown >= max(PREVIEW_EVERY_S, previewer.rest_s):
            self._job.publish(preview=previewer(done.latents[0]))
            self._shown = now
        step = self._steps_before + done.step
        left_s = (now - self._started) / step * (self._steps - step)
        self._job.publish(step=step, eta_s=left_s, waiting_for=None)

    def _save_grid(self) -> None:
        labels = [labels for _, labels in self._plan.axes]
        grid = draw_grid(self._drawn, *labels)
        first = next(text for text in self._infotexts if text)
        infotext = with_pairs(first, self._plan.pairs)
        seed = self._plan.request.seed
        path = save_picture(grid, infotext, seed, self._plotting._grids)
        self._job.publish(grid=SavedPicture(path, seed, infotext, ()))
