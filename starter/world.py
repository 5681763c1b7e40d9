"""The little world: what a picture can hold, and how scenes are drawn by lot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SIDE = 128
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 45),
    "orange": (246, 140, 30),
    "yellow": (250, 218, 60),
    "green": (55, 165, 75),
    "teal": (35, 180, 180),
    "blue": (45, 90, 215),
    "purple": (130, 60, 185),
    "pink": (250, 135, 185),
    "brown": (130, 82, 45),
    "black": (28, 26, 32),
    "white": (245, 245, 242),
    "gray": (138, 142, 148),
}
SHAPES = (
    "circle",
    "square",
    "triangle",
    "star",
    "diamond",
    "heart",
    "flower",
    "cross",
    "moon",
    "ring",
    "house",
    "arrow",
    "mushroom",
    "fish",
)
FILLS = ("plain", "striped", "dotted", "checkered")
GROUNDS = ("plain", "gradient", "striped", "night sky", "meadow")
STYLES = ("none", "watercolor", "pixel art", "neon", "sketch")
SIZES = ("small", "medium", "large")
RELATIONS = ("single", "beside", "above")
RADII_PX = {"small": 23.0, "medium": 34.0, "large": 46.0}
TWO_RADIUS_PX = 25.0
NEON_DULL = ("black", "brown", "gray")
UNSEEN_PAIRS = frozenset(
    {
        ("circle", "teal"), ("square", "pink"), ("triangle", "brown"), ("star", "gray"),
        ("diamond", "orange"), ("heart", "teal"), ("flower", "black"), ("cross", "purple"),
        ("moon", "pink"), ("ring", "brown"), ("house", "teal"), ("arrow", "gray"),
        ("mushroom", "blue"), ("fish", "white"),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One object: its silhouette, its colours and how large it is drawn."""

    shape: str
    colour: str
    fill: str = "plain"
    accent: str = ""
    """Second colour of a patterned fill, which covers less; "" for a plain one."""
    size: str = "medium"


@dataclass(frozen=True)
class Ground:
    """What lies behind the objects; the scenic grounds have no colour of their own to name."""

    kind: str = "plain"
    colour: str = "white"
    """"" for night sky and meadow."""
    second: str = ""
    """Lower colour of a gradient, other colour of stripes."""


@dataclass(frozen=True)
class Scene:
    """The truth about a picture; two things are left and right, or upper and lower."""

    things: tuple[Thing, ...]
    ground: Ground = Ground()
    style: str = "none"
    relation: str = "single"
    hazy: bool = False
    """A spoilt picture: pale and out of focus."""


def look(thing: Thing) -> tuple[str, str, str, str]:
    """Return the attributes that decide what a thing looks like, without its size."""
    return thing.shape, thing.colour, thing.fill, thing.accent


def is_unseen(thing: Thing) -> bool:
    """Return whether training never shows this shape in this colour."""
    return (thing.shape, thing.colour) in UNSEEN_PAIRS


def random_thing(rng: np.random.Generator, fills: tuple[float, ...], avoid: set[str]) -> Thing:
    """Return a thing with a colour not in ``avoid``; ``fills`` holds one probability for each
    fill."""
    colours = [name for name in COLOURS if name not in avoid]
    fill = FILLS[rng.choice(len(FILLS), p=fills)]
    first, second = rng.choice(len(colours), 2, replace=False)
    return Thing(
        shape=SHAPES[rng.integers(len(SHAPES))],
        colour=colours[first],
        fill=fill,
        accent="" if fill == "plain" else colours[second],
        size=SIZES[rng.choice(3, p=(0.2, 0.55, 0.25))],
    )


def random_ground(rng: np.random.Generator) -> Ground:
    """Return a background by lot: plain for three pictures in five."""
    kind = GROUNDS[rng.choice(len(GROUNDS), p=(0.62, 0.12, 0.10, 0.08, 0.08))]
    if kind in ("night sky", "meadow"):
        return Ground(kind, "", "")
    first, second = rng.choice(len(COLOURS), 2, replace=False)
    names = list(COLOURS)
    return Ground(kind, names[first], "" if kind == "plain" else names[second])


def random_scene(rng: np.random.Generator) -> Scene:
    """Return a scene by lot, with the world's own habits (one object in four of five pictures)."""
    ground = random_ground(rng)
    style = STYLES[rng.choice(len(STYLES), p=(0.52, 0.12, 0.12, 0.12, 0.12))]
    avoid = {ground.colour, ground.second}
    if ground.kind == "night sky":
        avoid |= {"black"}
    if ground.kind == "meadow":
        avoid |= {"green"}
    if style == "neon":
        avoid |= set(NEON_DULL)
        if ground.kind != "night sky":
            ground = Ground("plain", ground.colour or "black", "")
    relation = RELATIONS[rng.choice(3, p=(0.8, 0.12, 0.08))]
    if relation == "single":
        return Scene((random_thing(rng, (0.55, 0.15, 0.15, 0.15), avoid),), ground, style)
    first = random_thing(rng, (0.85, 0.05, 0.05, 0.05), avoid)
    second = random_thing(rng, (0.85, 0.05, 0.05, 0.05), avoid | {first.colour, first.accent})
    pair = (replace(first, size="medium"), replace(second, size="medium"))
    return Scene(pair, ground, style, relation)


def training_scene(rng: np.random.Generator, excluded: frozenset[tuple[str, ...]]) -> Scene:
    """Return a scene without unseen pairs and ``excluded`` looks; one in twenty-five is hazy,
    unsaid."""
    while True:
        scene = random_scene(rng)
        if not any(is_unseen(thing) or look(thing) in excluded for thing in scene.things):
            return replace(scene, hazy=bool(rng.random() < 0.04))
