"""A training task on a few images, such as those of a held-back concept of the starter model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from starter.captions import caption
from starter.concepts import Concept, scene_of, training_pictures
from starter.drawing import draw
from starter.pictures import picture_at, scene_at
from starter.world import SIDE, Ground, random_thing
from webui.models.model import Model
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop
from webui.training.recipe import Recipe
from webui.training.setup import TrainingSetup, as_learned, cut_crops, prepare_setup
from webui.training.trials.where import with_soft_mask

GOOD_SEED = 70_000


def task_for(model: Model, concept: Concept, recipe: Recipe) -> TrainingSetup:
    """Five images of the concept, encoded."""
    images = [image for image, _ in training_pictures(concept)]
    texts = texts_of(concept)
    return task_on(model, concept.name, concept.initializer, images, recipe, texts)


def texts_of(concept: Concept, seed: int = 0) -> tuple[str, ...]:
    """Return what the files of a style's training images are called, as its preset asks for."""
    if concept.kind != "style":
        return ()
    return tuple(scene.things[0].shape for _, scene in training_pictures(concept, seed))


def task_on(
    model: Model, name: str, initializer: str, images: Sequence[Image.Image], recipe: Recipe,
    texts: Sequence[str] = (),
) -> TrainingSetup:  # fmt: skip
    """Images, encoded, to train the name on; ``texts`` are what their files are called."""
    with tempfile.TemporaryDirectory() as folder:
        called = texts or [""] * len(images)
        paths = [Path(folder) / f"{index} {text}.png" for index, text in enumerate(called)]
        for image, path in zip(images, paths, strict=True):
            image.save(path)
        pictures = read_pictures(paths)
    cut = cut_crops(recipe, model, pictures)
    cut = as_learned(recipe, [with_soft_mask(model, recipe, crop, initializer) for crop in cut])
    moments = [encode_crop(model, crop) for crop in cut]
    return prepare_setup(model, recipe, name, initializer, pictures, cut, moments)


def good_images(count: int, seed: int = 0) -> tuple[list[Image.Image], tuple[str, ...]]:
    """Return drawings of the world, as a negative is learned from with guidance in the loop, and
    what they show."""
    rng = np.random.default_rng((seed, 5))
    images = [Image.fromarray(picture_at(GOOD_SEED + seed, index, True)) for index in range(count)]
    scenes = [scene_at(GOOD_SEED + seed, index, True) for index in range(count)]
    return images, tuple(caption(scene, rng).text for scene in scenes)


def objects_by_lot(seed: int, count: int) -> list[Concept]:
    """Patterned things of the model's world, each begun from its own shape; the same for the same
    seed."""
    rng = np.random.default_rng((seed, 3))
    things = [random_thing(rng, (0.0, 0.4, 0.3, 0.3), set()) for _ in range(count)]
    return [
        Concept(f"lot-{seed}-{number}", "object", thing.shape, replace(thing, size="medium"))
        for number, thing in enumerate(things)
    ]


def images_on_clutter(concept: Concept, seed: int = 0) -> list[Image.Image]:
    """Five images of an object before the same wall of other pictures, moved a little in each."""
    rng, tile = np.random.default_rng((seed, 4)), SIDE // 4
    wall = Image.new("RGB", (5 * tile, 5 * tile))
    for place in range(25):
        picture = Image.fromarray(picture_at(int(rng.integers(1 << 30)), place)).resize(
            (tile, tile)
        )
        wall.paste(picture, (place % 5 * tile, place // 5 * tile))
    images = []
    for _ in range(5):
        scene, turn = scene_of(concept, rng), int(rng.integers(1 << 30))
        before = {
            colour: np.asarray(
                draw(replace(scene, ground=Ground("plain", colour)), np.random.default_rng(turn)),
                np.float32,
            )
            for colour in ("black", "white")
        }
        through = (before["white"] - before["black"]).mean(axis=-1, keepdims=True)
        through = np.clip(through / through.max(), 0, 1)  # 1 where nothing stands before the wall
        left, top = rng.integers(tile, size=2).tolist()
        behind = np.asarray(wall.crop((left, top, left + SIDE, top + SIDE)), np.float32)
        image = behind * through + before["black"] * (1 - through)
        images.append(Image.fromarray(image.round().astype(np.uint8)))
    return images
