"""A scene in words, the way people write prompts: now in full, now in part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from starter.world import (
    COLOURS,
    COUNTS,
    FILLS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    STYLES,
    USUAL_COLOURS,
    Scene,
    Thing,
    goes_without_saying,
)

UNSAID = ""
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": (UNSAID, *SHAPES),
    "colour": (UNSAID, *COLOURS),
    "fill": (UNSAID, *FILLS),
    "accent": (UNSAID, *COLOURS),
    "size": (UNSAID, *SIZES),
    "shape 2": (UNSAID, *SHAPES),
    "colour 2": (UNSAID, *COLOURS),
    "relation": (UNSAID, *RELATIONS),
    "position": (UNSAID, *POSITIONS),
    "count": (UNSAID, *COUNTS),
    "ground": (UNSAID, "plain", "gradient", "striped", "night sky", "meadow"),
    "ground colour": (UNSAID, *COLOURS),
    "ground second": (UNSAID, *COLOURS),
    "style": STYLES,
}
_SYNONYMS = {"gray": "grey", "purple": "violet", "teal": "turquoise", "moon": "crescent moon"}
_PLURALS = {"fish": "fish", "cross": "crosses"}
_NUMBERS = {"two": ("two", "two", "2", "a pair of"), "three": ("three", "three", "3")}
_PLACES = {
    "centre": ("in the middle", "in the center"),
    "left": ("on the left", "on the left of the picture", "on the left side"),
    "right": ("on the right", "on the right of the picture", "on the right side"),
    "top": ("at the top", "at the top of the picture"),
    "bottom": ("at the bottom", "at the bottom of the picture"),
}
_SIZE_WORDS = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}
_PATTERN_WORDS = {
    "striped": ("stripes", "stripes"),
    "dotted": ("dots", "polka dots"),
    "checkered": ("checks", "squares"),
}
_STYLED = {
    "none": ("{}", "{}", "a picture of {}", "an image of {}", "a photo of {}"),
    "watercolor": ("{}, watercolor", "a watercolor painting of {}", "{} in watercolor"),
    "pixel art": ("{}, pixel art", "pixel art of {}", "a pixel art picture of {}"),
    "neon": ("{}, neon", "a neon sign of {}", "{} in neon light"),
    "sketch": ("{}, sketch", "a sketch of {}", "a pencil sketch of {}"),
}
_RELATED = {
    "beside": (
        "{0} and {1}",
        "{0} next to {1}",
        "{0} to the left of {1}",
        "{1} to the right of {0}",
    ),
    "above": ("{0} above {1}", "{0} over {1}", "{1} below {0}", "{1} under {0}"),
}


@dataclass(frozen=True)
class Caption:
    """A prompt, and what it says of each attribute ("" where it is silent)."""

    text: str
    said: dict[str, str]


def _word(name: str, rng: np.random.Generator) -> str:
    return _SYNONYMS[name] if name in _SYNONYMS and rng.random() < 0.15 else name


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[rng.integers(len(options))]


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _colour_words(
    thing: Thing, said: dict[str, str], suffix: str, rng: np.random.Generator
) -> tuple[str, str]:
    """Return what stands before the noun about the colours, and what stands after it."""
    said["colour" + suffix] = thing.colour
    colour, after = _word(thing.colour, rng), ""
    if thing.fill != "plain":
        accent = _word(thing.accent, rng)
        if rng.random() < 0.5:
            colour = f"{colour} and {accent} {thing.fill}"
        else:
            after = f" with {accent} {_pick(_PATTERN_WORDS[thing.fill], rng)}"
    elif rng.random() < 0.05:
        colour = f"plain {colour}"
    if not suffix:
        said["fill"], said["accent"] = thing.fill, thing.accent
    return colour + " ", after


def _thing_words(
    thing: Thing, count: str, said: dict[str, str], suffix: str, rng: np.random.Generator
) -> str:
    """Return the object as a noun phrase without article; ``said`` learns what was told."""
    said["shape" + suffix] = thing.shape
    noun = _word(thing.shape, rng)
    if count != "one":
        said["count"] = count
        noun = _PLURALS.get(noun, noun + "s")
    colour = after = ""
    usual = thing.fill == "plain" and thing.colour == USUAL_COLOURS[thing.shape]
    if not usual or rng.random() < 0.6:
        colour, after = _colour_words(thing, said, suffix, rng)
    size = ""
    if thing.size != "medium" and rng.random() < 0.7:
        size = _pick(_SIZE_WORDS[thing.size], rng) + " "
        said["size"] = thing.size
    number = "" if count == "one" else _pick(_NUMBERS[count], rng) + " "
    return number + size + colour + noun + after


def _ground_words(scene: Scene, said: dict[str, str], rng: np.random.Generator) -> str:
    ground = scene.ground
    said["ground"] = ground.kind
    if ground.kind == "night sky":
        return _pick(("night sky", "starry night sky", "starry sky"), rng)
    if ground.kind == "meadow":
        return _pick(("meadow", "sunny meadow", "green meadow"), rng)
    said["ground colour"], said["ground second"] = ground.colour, ground.second
    first = _word(ground.colour, rng)
    if ground.kind == "plain":
        return f"{_pick(('', '', '', '', 'plain '), rng)}{first} background"
    second = _word(ground.second, rng)
    if ground.kind == "gradient":
        return f"{first} to {second} gradient background"
    return _pick(
        (f"{first} and {second} striped background", f"striped {first} and {second} background"),
        rng,
    )


def caption(scene: Scene, rng: np.random.Generator) -> Caption:
    """Return a prompt for the scene; wording, order and how much is said are drawn by lot."""
    said = dict.fromkeys(ATTRIBUTES, UNSAID) | {"style": scene.style}
    template = _pick(_STYLED[scene.style], rng)
    if rng.random() < 0.02:
        return Caption(template.format(_article(_ground_words(scene, said, rng))), said)
    bare = rng.random() < 0.25  # tags rather than a sentence
    things = [
        _thing_words(thing, scene.count, said, suffix, rng)
        for thing, suffix in zip(scene.things, ("", " 2"), strict=False)
    ]
    things = things if bare or scene.count != "one" else [_article(words) for words in things]
    said["relation"] = scene.relation
    subject = things[0]
    if len(things) == 2:
        subject = _pick(_RELATED[scene.relation], rng).format(*things)
    elif scene.position != "centre" or (scene.count == "one" and rng.random() < 0.06):
        said["position"] = scene.position
        subject = f"{subject} {_pick(_PLACES[scene.position], rng)}"
    if goes_without_saying(scene) and rng.random() < 0.7:
        return Caption(template.format(subject), said)
    ground = _ground_words(scene, said, rng)
    scenic = scene.ground.kind in ("night sky", "meadow")
    if bare or rng.random() < 0.15:
        text = f"{subject}, {ground}"
    elif scenic:
        text = f"{subject} in {_pick(('a', 'the'), rng)} {ground}"
    else:
        text = f"{subject} on {_article(ground)}"
    return Caption(template.format(text), said)


def truth(scene: Scene) -> dict[str, str]:
    """Return all attributes of the scene, as a caption that leaves nothing out would tell them."""
    thing, ground = scene.things[0], scene.ground
    told = dict.fromkeys(ATTRIBUTES, UNSAID) | {
        "shape": thing.shape,
        "colour": thing.colour,
        "fill": thing.fill,
        "accent": thing.accent,
        "size": thing.size,
        "relation": scene.relation,
        "position": scene.position,
        "count": scene.count,
        "ground": ground.kind,
        "ground colour": ground.colour,
        "ground second": ground.second,
        "style": scene.style,
    }
    if len(scene.things) == 2:
        told |= {"shape 2": scene.things[1].shape, "colour 2": scene.things[1].colour}
    return told


def labels(said: dict[str, str]) -> list[int]:
    """Return the class of each attribute, in the order of ``ATTRIBUTES``."""
    return [values.index(said[name]) for name, values in ATTRIBUTES.items()]
