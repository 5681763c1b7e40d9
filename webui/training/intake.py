"""What a person asks to be trained, and all that can be wrong with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from webui.errors import AppError, BadField
from webui.training import tracking
from webui.training.captions import examples, initializer_advice, initializer_tokens
from webui.training.dataset import read_picture, read_pictures
from webui.training.naming import name_advice, name_problem
from webui.training.preflight import Finding, preflight
from webui.training.recipe import Recipe, rate_advice

if TYPE_CHECKING:
    from webui.models.model import Model


@dataclass(frozen=True)
class TrainingRequest:
    """What a person asks for on the Train tab, over the API or in the terminal."""

    name: str
    """Name of the embedding, as it will be written in prompts."""
    pictures: tuple[Path, ...]
    """3 to 15 pictures; a text file of the same name beside one is its caption."""
    initializer: str
    """A word or a few that describe the thing coarsely; learning starts from there."""
    recipe: Recipe
    overwrite: bool = False
    """Whether an embedding of this name may be replaced."""
    tensorboard: bool = False
    """Whether the run's numbers are also written for TensorBoard."""


def check_request(
    request: TrainingRequest, model: Model | None, taken: Collection[str]
) -> list[tuple[str, str]]:
    """Return all that makes a request impossible, as (field, sentence).

    ``taken`` are the names of other embeddings. Without a model, what depends on it is passed over.
    """
    problems = []
    tokenizer = model.tokenizer if model else None
    wrong = name_problem(request.name, tokenizer, taken, request.overwrite)
    if wrong:
        problems.append(("name", wrong))
    try:
        pictures = read_pictures(request.pictures)
        examples(request.recipe, pictures, request.name, request.initializer, len(pictures))
    except AppError as problem:
        problems.append(("pictures", str(problem)))
    if request.tensorboard and not tracking.available():
        problems.append(("tensorboard", tracking.MISSING))
    return problems + (_check_against(request, model) if model else [])


def _check_against(request: TrainingRequest, model: Model) -> list[tuple[str, str]]:
    from webui.training.denoising import schedule_of
    from webui.training.task import side_of

    problems = []
    for look in (
        lambda: initializer_tokens(model.tokenizer, request.initializer),
        lambda: side_of(request.recipe, model),
        lambda: schedule_of(model),
    ):
        try:
            look()
        except BadField as problem:
            problems.append((problem.field, str(problem)))
        except AppError as problem:
            problems.append(("model", str(problem)))
    return problems


def preflight_request(
    request: TrainingRequest, model: Model, taken: Collection[str]
) -> list[Finding]:
    """Look over all of a request for what training could suffer from, the worst first."""
    from webui.training.task import buckets_of, precision_advice, side_of

    pictures, findings = [], []
    for path in request.pictures:
        try:
            pictures.append(read_picture(path))
        except AppError as problem:
            findings.append(Finding(True, path.name, str(problem)))
    recipe = request.recipe
    findings += preflight(pictures, side_of(recipe, model), buckets_of(recipe, model))
    advice = (
        name_advice(request.name, model.tokenizer, taken),
        initializer_advice(recipe, model.tokenizer, request.initializer),
        rate_advice(recipe),
        precision_advice(recipe, model),
    )
    return findings + [Finding(False, None, text) for text in advice if text]
