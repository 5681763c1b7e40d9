"""What a plot draws: its cells, what their values can name, and what its grid says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from webui.generation.request import GenerationRequest

MAX_CELLS = 100
"""Most combinations of values in one plot."""
MAX_PICTURES = 400
"""Most pictures of one plot, if its cells have several."""


@dataclass(frozen=True)
class TrainedRun:
    """A training run whose steps can be values."""

    run_id: str
    name: str
    """Of its embedding."""
    steps: tuple[int, ...]
    """Those whose vectors are kept."""


@dataclass(frozen=True)
class PlotContext:
    """What there is that a value can name."""

    embeddings: Mapping[str, bool] = field(default_factory=dict)
    """Names of the embeddings, and whether each is only called explicitly."""
    checkpoints: Sequence[str] = ()
    run: TrainedRun | None = None
    vaes: Sequence[str] = ()
    upscalers: Sequence[str] = ()
    """Those of files."""
    styles: Sequence[str] = ()
    with_styles: Callable[[GenerationRequest], GenerationRequest] = lambda request: request
    """Writes a request's styles out in its prompts."""


@dataclass(frozen=True)
class Cell:
    """One combination of values, drawn as the pictures of one request."""

    request: GenerationRequest
    checkpoint: str | None = None
    """The model to draw with; None for the one in use."""
    vae: str | None = None
    """The VAE to draw with, likewise."""
    training_step: int | None = None
    """The step of the run whose vectors its name calls."""
    placed: str | None = None
    """Name of the embedding that an axis put into the prompt."""


@dataclass(frozen=True)
class Plan:
    """A plot whose every cell is known."""

    request: GenerationRequest
    """What the cells have in common."""
    cells: tuple[Cell, ...]
    """Columns change fastest, sheets slowest."""
    labels: tuple[Sequence[str], Sequence[str], Sequence[str]] | None
    """Those of columns, rows and sheets, one empty label for none of them; None for no grid."""
    pairs: Mapping[str, object] = field(default_factory=dict)
    """What the grid's parameters say about the plot, in AUTOMATIC1111's words."""
