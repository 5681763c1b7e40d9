"""X/Y/Z plots as jobs: cell after cell is drawn, then all of them as one labelled picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui.embeddings.embedding import OUTPUT
from webui.embeddings.library import EmbeddingLibrary
from webui.errors import AppError, BadField, Interrupted
from webui.generation.file_names import NamedPicture
from webui.generation.metadata.infotext import with_pairs
from webui.generation.outputs import make_grid, save_picture
from webui.generation.plots.grid import Drawn, draw_grid, small_enough
from webui.generation.plots.plan import Cell, Plan, PlotContext, TrainedRun
from webui.generation.plots.prompt_list import ListOptions, plan_list
from webui.generation.plots.prompt_matrix import MatrixOptions, plan_matrix
from webui.generation.plots.xyz import plan
from webui.generation.request import GenerationRequest
from webui.generation.styles import Styles
from webui.prompting.lookup import unfit
from webui.studio.drawing import Drawing, MakeExtra
from webui.studio.generating import Generating
from webui.studio.jobs import GenerationJob, SavedPicture
from webui.studio.models_in_use import ModelChoice, ModelsInUse
from webui.training.runs.run_folder import Run, list_runs

if TYPE_CHECKING:
    from webui.generation.engine import Picture
    from webui.models.model import Model
    from webui.training.learned.step import LearnedStep

log = logging.getLogger(__name__)


class Plotting:
    """Draws plots; between two cells the gate is free, so that others get their turn."""

    def __init__(
        self,
        generating: Generating,
        drawing: Drawing,
        models: ModelsInUse,
        library: EmbeddingLibrary,
        styles: Styles,
        runs: Path,
        grids: Path,
    ) -> None:
        """``runs`` is the folder of the training runs, ``grids`` that of the finished plots."""
        self._generating, self._drawing, self._models = generating, drawing, models
        self._library, self._styles = library, styles
        self._runs, self._grids = runs, grids

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
            and card.kind != OUTPUT
            and (model is None or unfit(card, model.widths, model.name) is None)
        }
        run = next((run for run in self.runs() if run.run_id == run_id), None)
        return PlotContext(
            embeddings,
            self._models.names(),
            run,
            vaes=self._models.vaes(),
            upscalers=list(self._drawing.upscalers()),
            styles=self._styles.names(),
            with_styles=self._styles.applied,
        )

    def start(
        self,
        request: GenerationRequest,
        chosen: Sequence[tuple[str, str]],
        run_id: str | None = None,
        after: str | None = None,
        model: ModelChoice | None = None,
    ) -> GenerationJob:
        """Start drawing an X/Y/Z plot in the background.

        ``chosen`` is as in ``webui.generation.plots.xyz.plan``, ``model`` and ``after`` as in
        ``Generating``. Raises BadField if something in the request or the axes cannot be used.
        """
        here = self.here(run_id)
        steps = [number for number, (name, _) in enumerate(chosen) if name == "Training step"]
        if steps and here.run is None:
            raise BadField("xyz_run", "Choose a training run that has kept some of its steps.")
        plotted = plan(self._styles.applied(request), chosen, here)
        return self._carry_out(plotted, here, after, model)

    def start_matrix(
        self,
        request: GenerationRequest,
        options: MatrixOptions,
        after: str | None = None,
        model: ModelChoice | None = None,
    ) -> GenerationJob:
        """Start drawing a prompt matrix in the background; errors as of ``start``."""
        here = self.here()
        return self._carry_out(plan_matrix(request, options, here), here, after, model)

    def start_list(
        self,
        request: GenerationRequest,
        lines: str,
        options: ListOptions,
        after: str | None = None,
        model: ModelChoice | None = None,
    ) -> GenerationJob:
        """Start drawing a list of prompts in the background; errors as of ``start``."""
        here = self.here()
        return self._carry_out(plan_list(request, lines, options, here), here, after, model)

    def _carry_out(
        self, plotted: Plan, here: PlotContext, after: str | None, model: ModelChoice | None
    ) -> GenerationJob:
        for cell in plotted.cells:
            self._drawing.check(cell.request)
        choice = model or self._models.choice()
        generating = self._generating
        naming = generating.naming.of(plotted.request)
        job = GenerationJob(plotted.request, generating.folder, choice, naming)
        job.publish(is_plot=True, steps=sum(cell.request.all_steps for cell in plotted.cells))
        picture = _Plot(self._drawing, plotted, self._runs, here.run, self._grids)
        return generating.carry_out(job, picture.draw, after)


class _Plot:
    """One plot on its way."""

    def __init__(
        self, drawing: Drawing, plotted: Plan, runs: Path, run: TrainedRun | None, grids: Path
    ) -> None:
        self._drawing, self._plan = drawing, plotted
        self._runs, self._run, self._grids = runs, run, grids
        self._drawn: list[Drawn] = [None] * len(plotted.cells)
        self._firsts: list[SavedPicture | None] = [None] * len(plotted.cells)

    def draw(self, job: GenerationJob) -> None:
        """Draw all cells and the grid; an interrupted plot keeps a grid of what there is."""
        cells = self._plan.cells
        names = list(dict.fromkeys(cell.checkpoint for cell in cells))
        vaes = list(dict.fromkeys(cell.vae for cell in cells))
        by_model = sorted(
            range(len(cells)),
            key=lambda n: (names.index(cells[n].checkpoint), vaes.index(cells[n].vae)),
        )
        try:
            for place, number in enumerate(by_model, 1):
                job.publish(cell=place, cells=len(cells))
                self._draw_cell(job, number)
        finally:
            if any(self._firsts) and self._plan.labels:
                self._save_grid(job)

    def _draw_cell(self, job: GenerationJob, number: int) -> None:
        """Draw a cell; where that is impossible, the reason stands in its place.

        One model draws all cells that name none, whatever is chosen meanwhile.
        """
        cell = self._plan.cells[number]
        images: list[Image.Image] = []

        def keep(picture: Picture) -> None:
            saved = job.save(picture, with_pairs(picture.infotext, self._pairs(cell)))
            self._firsts[number] = self._firsts[number] or saved
            images.append(picture.image)

        try:
            self._drawing.draw(
                cell.request,
                "a plot",
                keep,
                job=job,
                model=ModelChoice(cell.checkpoint or job.model.name, cell.vae or job.model.vae),
                extra=self._extra(cell),
            )
        except Interrupted:
            raise
        except AppError as problem:
            job.publish(warnings=tuple(dict.fromkeys((*job.view.warnings, str(problem)))))
            self._drawn[number] = str(problem)
        finally:
            if images:
                self._drawn[number] = small_enough(make_grid(images), len(self._drawn))
        job.part_done(cell.request.all_steps)

    def _extra(self, cell: Cell) -> MakeExtra | None:
        """Return what reads the vectors of the training step that the cell asks for, if any."""
        if cell.training_step is None or self._run is None:
            return None
        return partial(_learned, Run(self._runs / self._run.run_id), cell.training_step)

    def _pairs(self, cell: Cell) -> dict[str, object]:
        """Return what the parameters of a cell's pictures say besides."""
        if cell.training_step is None or self._run is None:
            return {}
        return {"Training run": self._run.run_id, "Training step": cell.training_step}

    def _save_grid(self, job: GenerationJob) -> None:
        grid = draw_grid(self._drawn, *(self._plan.labels or ([], [], [])))
        first = next(saved for saved in self._firsts if saved)
        infotext = with_pairs(first.infotext, self._plan.pairs)
        request = self._plan.request
        folder = self._grids / job.naming.folder(NamedPicture(grid, request, first.model.name))
        path = save_picture(grid, infotext, folder, str(request.seed))
        job.publish(grid=replace(first, path=path, infotext=infotext, used=()))


def _learned(run: Run, step: int, model: Model) -> LearnedStep:
    """Return what a training run had learned at a step; AppError if it does not fit the model."""
    learned = run.read_checkpoint(step)
    for embedding in learned.embeddings:
        if problem := unfit(embedding, model.widths, model.name):
            raise AppError(problem)
    return learned
