"""A training task on the pictures of one of the starter model's held-back concepts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from starter.concepts import Concept, training_pictures
from webui.models.model import Model
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop
from webui.training.recipe import Recipe
from webui.training.setup import TrainingSetup, cut_crops, prepare_setup


def task_for(model: Model, concept: Concept, recipe: Recipe) -> TrainingSetup:
    """Five pictures of the concept, encoded."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for index, (picture, _) in enumerate(training_pictures(concept)):
            paths.append(Path(folder) / f"{index}.png")
            picture.save(paths[-1])
        pictures = read_pictures(paths)
    cut = cut_crops(recipe, model, pictures)
    moments = [encode_crop(model, square) for square in cut]
    return prepare_setup(model, recipe, concept.name, concept.initializer, pictures, cut, moments)
