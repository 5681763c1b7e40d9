"""Any embedding measured: with the numbers of a run's report, as far as there are pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

from webui.embeddings.embedding import OUTPUT, Embedding, hash_vectors
from webui.errors import AppError
from webui.models.families import incompatibility
from webui.models.model import Model
from webui.training.captions import initializer_tokens
from webui.training.dataset import Picture
from webui.training.denoising import encode_crop
from webui.training.evaluation import (
    Baseline,
    editability,
    nearest_words,
    norm_ratio,
    prepare_eval_set,
    score,
)
from webui.training.learned.lora import Lora
from webui.training.recipe import Recipe
from webui.training.runs.report import judge
from webui.training.runs.run_folder import Run, list_runs
from webui.training.setup import as_learned, cut_crops, prepare_setup, vocabulary_norm


@dataclass(frozen=True)
class Measured:
    """An embedding's numbers; what could not be measured is None."""

    name: str
    vectors: int
    compared_with: str
    """The words in the place of the name that it is compared with."""
    gain: float | None
    """How much smaller the error on fixed inputs is than with those words, 0 to 1."""
    error: float | None
    """Standard error of the gain."""
    held_out: float | None
    """The gain on a picture that training never saw."""
    editability: float
    """How far the other words of a prompt keep their meaning, around 1 for ordinary words."""
    norm_ratio: float
    """Mean norm, as a multiple of the vocabulary's."""
    verdict: str
    """learned, not shown, weak or overfitted; empty without pictures."""
    with_lora: bool = False
    """Whether it was measured with the LoRA that was learned beside it."""


def run_of(embedding: Embedding, root: Path) -> Run | None:
    """Return the run below ``root`` that made just these vectors, or None."""
    for run in list_runs(root):
        try:
            if embedding.step not in run.checkpoints():
                continue
            own = run.read_checkpoint(embedding.step).vectors.get(embedding.name)
            if own is not None and hash_vectors(own) == embedding.content_hash:
                return run
        except AppError:
            continue
    return None


def check_fit(embedding: Embedding, model: Model) -> None:
    """Raise AppError if the embedding is not for this model, or holds no usable numbers."""
    if unfit := incompatibility(embedding.widths, model.widths, model.name):
        raise AppError(f"“{embedding.name}”: {unfit}")
    if embedding.kind == OUTPUT:
        raise AppError(f"“{embedding.name}” is a text encoder's output, which is not measured.")
    if not all(torch.isfinite(rows).all() for rows in embedding.vectors.values()):
        raise AppError(f"“{embedding.name}” holds NaN or infinite numbers.")


def measure(
    embedding: Embedding,
    model: Model,
    initializer: str = "",
    pictures: Sequence[Picture] = (),
    recipe: Recipe | None = None,
    lora: Lora = MappingProxyType({}),
) -> Measured:
    """Measure an embedding against ``initializer``, or the word nearest to its first vector.

    ``recipe`` says how pictures are cut and captioned; ``lora`` is what was learned beside it,
    which the words that it is compared with do without. Raises AppError if the embedding is not
    for this model.
    """
    check_fit(embedding, model)
    vectors = {key: embedding.vectors[key].to(model.device).float() for key in model.widths}
    words = initializer.strip() or nearest_words(model, vectors, 1)[0][0]
    recipe = recipe or Recipe()
    found = None
    if pictures:
        cut = as_learned(recipe, cut_crops(recipe, model, pictures))
        moments = [encode_crop(model, crop) for crop in cut]
        setup = prepare_setup(model, recipe, embedding.name, words, pictures, cut, moments)
        eval_set = prepare_eval_set(setup, 2 * recipe.evaluation_tuples)
        on_device = {name: weights.to(model.device) for name, weights in lora.items()}
        found = score(setup, eval_set, vectors, on_device)
    ids = initializer_tokens(model.tokenizer, words)
    norms = {key: vocabulary_norm(model, key) for key in model.widths}
    editable = editability(Baseline(model, ids), vectors)
    norm = float(norm_ratio(norms, vectors))
    classic = recipe.optimizer == "adamw"
    return Measured(
        name=embedding.name,
        vectors=len(embedding),
        compared_with=words,
        gain=found.gain if found else None,
        error=found.error if found else None,
        held_out=found.held_out if found else None,
        editability=editable,
        norm_ratio=norm,
        verdict=judge(found, editable, norm, classic)[0] if found else "",
        with_lora=bool(lora),
    )
