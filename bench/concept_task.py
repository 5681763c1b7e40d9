"""A training task on a few images, such as those of a held-back concept of the starter model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from starter.concepts import Concept, training_pictures
from webui.models.model import Model
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop
from webui.training.recipe import Recipe
from webui.training.setup import TrainingSetup, cut_crops, prepare_setup


def task_for(model: Model, concept: Concept, recipe: Recipe) -> TrainingSetup:
    """Five images of the concept, encoded."""
    images = [image for image, _ in training_pictures(concept)]
    return task_on(model, concept.name, concept.initializer, images, recipe)


def task_on(
    model: Model, name: str, initializer: str, images: Sequence[Image.Image], recipe: Recipe
) -> TrainingSetup:
    """Images, encoded, to train the name on."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.png" for index in range(len(images))]
        for image, path in zip(images, paths, strict=True):
            image.save(path)
        pictures = read_pictures(paths)
    cut = cut_crops(recipe, model, pictures)
    moments = [encode_crop(model, crop) for crop in cut]
    return prepare_setup(model, recipe, name, initializer, pictures, cut, moments)
