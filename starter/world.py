"""The little world: what a picture can hold, and how scenes are drawn by lot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SIDE = 256
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
    "tree",
    "cat",
    "car",
    "boat",
    "cup",
)
FILLS = ("plain", "striped", "dotted", "checkered")
GROUNDS = ("plain", "gradient", "striped", "night sky", "meadow")
STYLES = ("none", "watercolor", "pixel art", "neon", "sketch")
SIZES = ("small", "medium", "large")
RELATIONS = ("single", "beside", "above")
POSITIONS = ("centre", "left", "right", "top", "bottom")
COUNTS = ("one", "two", "three")
RADII_PX = {"small": 44.0, "medium": 68.0, "large": 96.0}
TWO_RADIUS_PX = 55.0
THREE_RADIUS_PX = 36.0
NEON_DULL = ("black", "brown", "gray")
UNSEEN_PAIRS = frozenset(
    {
        ("circle", "teal"), ("square", "pink"), ("triangle", "brown"), ("star", "gray"),
        ("diamond", "orange"), ("heart", "teal"), ("flower", "black"), ("cross", "purple"),
        ("moon", "pink"), ("ring", "brown"), ("house", "teal"), ("arrow", "gray"),
        ("mushroom", "blue"), ("fish", "white"), ("tree", "purple"), ("cat", "green"),
        ("car", "pink"), ("boat", "gray"), ("cup", "teal"),
    }
)  # fmt: skip
USUAL_COLOURS = {
    "circle": "red", "square": "blue", "triangle": "green", "star": "yellow", "diamond": "teal",
    "heart": "red", "flower": "pink", "cross": "white", "moon": "yellow", "ring": "orange",
    "house": "brown", "arrow": "green", "mushroom": "red", "fish": "orange", "tree": "green",
    "cat": "black", "car": "red", "boat": "brown", "cup": "white",
}  # fmt: skip
"""A thing whose colour goes without saying has this one."""
USUAL_GROUNDS = {
    "red": "teal", "orange": "blue", "yellow": "purple", "green": "pink", "teal": "orange",
    "blue": "yellow", "purple": "yellow", "pink": "blue", "brown": "teal", "black": "orange",
    "white": "blue", "gray": "yellow",
}  # fmt: skip
"""By the first object's colour: the plain background that goes without saying."""
_USUAL_GROUND, _USUAL_COLOUR = 0.15, 0.12


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
    """The truth about a picture.

    Two things are left and right, or upper and lower; one thing may stand off the centre, or be
    there two or three times, side by side.
    """

    things: tuple[Thing, ...]
    ground: Ground = Ground()
    style: str = "none"
    relation: str = "single"
    position: str = "centre"
    count: str = "one"
    hazy: bool = False
    """A spoilt picture: pale and out of focus."""


def look(thing: Thing) -> tuple[str, str, str, str]:
    """Return the attributes that decide what a thing looks like, without its size."""
    return thing.shape, thing.colour, thing.fill, thing.accent


def is_unseen(thing: Thing) -> bool:
    """Return whether training never shows this shape in this colour."""
    return (thing.shape, thing.colour) in UNSEEN_PAIRS


def usual_ground(colour: str, style: str) -> Ground:
    """Return the background of a picture whose prompt names none."""
    return Ground("plain", "black" if style == "neon" else USUAL_GROUNDS[colour])


def goes_without_saying(scene: Scene) -> bool:
    """Return whether a prompt may leave the background out."""
    return not scene.hazy and scene.ground == usual_ground(scene.things[0].colour, scene.style)


def random_thing(rng: np.random.Generator, fills: tuple[float, ...], avoid: set[str]) -> Thing:
    """Return a thing with a colour not in ``avoid``; ``fills`` holds one probability for each
    fill."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    colours = [name for name in COLOURS if name not in avoid]
    fill = FILLS[rng.choice(len(FILLS), p=fills)]
    first, second = (colours[place] for place in rng.choice(len(colours), 2, replace=False))
    usual = USUAL_COLOURS[shape]
    if fill == "plain" and usual not in avoid and rng.random() < _USUAL_COLOUR:
        first = usual
    size = SIZES[rng.choice(3, p=(0.2, 0.55, 0.25))]
    return Thing(shape, first, fill, "" if fill == "plain" else second, size)


def random_ground(rng: np.random.Generator) -> Ground:
    """Return a background by lot: plain for three pictures in five."""
    kind = GROUNDS[rng.choice(len(GROUNDS), p=(0.62, 0.12, 0.10, 0.08, 0.08))]
    if kind in ("night sky", "meadow"):
        return Ground(kind, "", "")
    first, second = rng.choice(len(COLOURS), 2, replace=False)
    names = list(COLOURS)
    return Ground(kind, names[first], "" if kind == "plain" else names[second])


def _colours_taken(ground: Ground, style: str) -> set[str]:
    """Return the colours that an object before this background would not be seen in."""
    taken = {ground.colour, ground.second}
    taken |= {"night sky": {"black"}, "meadow": {"green"}}.get(ground.kind, set())
    return taken | (set(NEON_DULL) if style == "neon" else set())


def _with_usual_ground(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the scene, now and then with the background that goes without saying."""
    usual = usual_ground(scene.things[0].colour, scene.style)
    used = {colour for thing in scene.things for colour in (thing.colour, thing.accent)}
    likely = rng.random() < _USUAL_GROUND
    return replace(scene, ground=usual) if likely and usual.colour not in used else scene


def random_scene(rng: np.random.Generator) -> Scene:
    """Return a scene by lot, with the world's own habits (one object in three of five pictures)."""
    ground = random_ground(rng)
    style = STYLES[rng.choice(len(STYLES), p=(0.52, 0.12, 0.12, 0.12, 0.12))]
    if style == "neon" and ground.kind != "night sky":
        ground = Ground("plain", ground.colour or "black", "")
    avoid = _colours_taken(ground, style)
    relation = RELATIONS[rng.choice(3, p=(0.76, 0.14, 0.1))]
    if relation == "single":
        thing = random_thing(rng, (0.46, 0.18, 0.18, 0.18), avoid)
        count = COUNTS[rng.choice(3, p=(0.76, 0.13, 0.11))]
        position = "centre"
        if count != "one":
            thing = replace(thing, size="medium")
        elif thing.size != "large" and rng.random() < 0.4:
            position = POSITIONS[rng.integers(1, len(POSITIONS))]
        scene = Scene((thing,), ground, style, position=position, count=count)
        return _with_usual_ground(scene, rng)
    fills = (0.7, 0.1, 0.1, 0.1)
    first = replace(random_thing(rng, fills, avoid), size="medium")
    taken = avoid | {first.colour, first.accent}
    second = replace(random_thing(rng, fills, taken), size="medium")
    return _with_usual_ground(Scene((first, second), ground, style, relation), rng)


def training_scene(rng: np.random.Generator, excluded: frozenset[tuple[str, ...]]) -> Scene:
    """Return a scene without unseen pairs and ``excluded`` looks; one in twenty-five is hazy,
    unsaid."""
    while True:
        scene = random_scene(rng)
        if not any(is_unseen(thing) or look(thing) in excluded for thing in scene.things):
            return replace(scene, hazy=bool(rng.random() < 0.04))
