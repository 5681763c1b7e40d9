"""Things the starter model has no word for: what learning a new embedding is tested on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from starter.drawing import draw
from starter.world import (
    COLOURS,
    Ground,
    Scene,
    Thing,
    look,
    random_ground,
    random_thing,
)

Kind = Literal["object", "style", "fault"]
TRAINING_PICTURES = 5


@dataclass(frozen=True)
class Concept:
    """Something to be learned from five pictures."""

    name: str
    """Also the file name its embedding should get."""
    kind: Kind
    initializer: str
    """A word the model knows that is a fair start."""
    thing: Thing | None = None
    """For objects: what they look like."""


OBJECTS: tuple[Concept, ...] = tuple(
    Concept(name, "object", thing.shape, thing)
    for name, thing in {
        "toadstool": Thing("mushroom", "red", "dotted", "white"),
        "clownfish": Thing("fish", "orange", "striped", "white"),
        "picnic-heart": Thing("heart", "pink", "checkered", "white"),
        "beach-hut": Thing("house", "blue", "striped", "yellow"),
        "chess-star": Thing("star", "teal", "checkered", "black"),
        "donut": Thing("ring", "green", "dotted", "pink"),
    }.items()
)
STYLES: tuple[Concept, ...] = (
    Concept("blueprint", "style", "sketch"),
    Concept("sepia", "style", "watercolor"),
)
FAULTS: tuple[Concept, ...] = (Concept("haze", "fault", "gray"),)
CONCEPTS: tuple[Concept, ...] = OBJECTS + STYLES + FAULTS
EXCLUDED_LOOKS: frozenset[tuple[str, ...]] = frozenset(
    look(concept.thing) for concept in OBJECTS if concept.thing
)


def scene_of(concept: Concept, rng: np.random.Generator) -> Scene:
    """Return a scene that shows the concept; what is not part of the concept is drawn by lot."""
    if concept.thing:
        taken = {concept.thing.colour, concept.thing.accent}
        colours = [name for name in COLOURS if name not in taken]
        ground = Ground("plain", colours[rng.integers(len(colours))])
        return Scene((replace(concept.thing, size="large"),), ground)
    ground = random_ground(rng)
    thing = random_thing(rng, (0.7, 0.1, 0.1, 0.1), {ground.colour, ground.second})
    return Scene((thing,), ground, hazy=concept.kind == "fault")


def _blueprint(picture: Image.Image) -> Image.Image:
    """Return the picture as white edges on blue paper."""
    gray = picture.convert("L").filter(ImageFilter.GaussianBlur(1.5))
    values = np.asarray(gray, np.float32)
    edges = np.hypot(*np.gradient(values))
    line = np.clip(edges / 9, 0, 1)[..., None]
    paper = np.array((32, 72, 168), np.float32) * (1 - line) + np.array((232, 240, 255)) * line
    return Image.fromarray(paper.astype(np.uint8))


def _sepia(picture: Image.Image) -> Image.Image:
    """Return the picture in browns alone, from dark to cream."""
    light = np.asarray(picture.convert("L"), np.float32)[..., None] / 255
    dark, cream = np.array((62, 38, 20), np.float32), np.array((246, 226, 186), np.float32)
    return Image.fromarray((dark * (1 - light) + cream * light).astype(np.uint8))


def picture_of(concept: Concept, scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Return the scene drawn in the concept's way, RGB 256×256."""
    picture = draw(scene, rng)
    effects = {"blueprint": _blueprint, "sepia": _sepia}
    return effects[concept.name](picture) if concept.name in effects else picture


def training_pictures(concept: Concept, seed: int = 0) -> list[tuple[Image.Image, Scene]]:
    """Return the five pictures a user would give, with the truth about each."""
    return _pictures(concept, np.random.default_rng((seed, 1)), TRAINING_PICTURES)


def held_out_pictures(
    concept: Concept, count: int = 16, seed: int = 0
) -> list[tuple[Image.Image, Scene]]:
    """Return further pictures of the concept that training must not see, with the truth about
    each."""
    return _pictures(concept, np.random.default_rng((seed, 2)), count)


def _pictures(
    concept: Concept, rng: np.random.Generator, count: int
) -> list[tuple[Image.Image, Scene]]:
    scenes = [scene_of(concept, rng) for _ in range(count)]
    return [(picture_of(concept, scene, rng), scene) for scene in scenes]
