"""What decides a training run beside its pictures: the recipe, and presets of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from webui.errors import BadField

USUAL_NUMBER = 0.014
"""Root mean square of the numbers of a word's vector in Stable Diffusion 1.x."""
LEAST_TURN = 0.1
"""Radians: words that lie so near to each other cannot be told apart in a picture."""

Kind = Literal["object", "style", "negative"]
Optimizer = Literal["directional", "adamw"]
Captions = Literal["templates", "filewords", "files"]


@dataclass(frozen=True)
class Recipe:
    """How vectors are learned; equal recipe, pictures, model and machine give an equal file."""

    kind: Kind = "object"
    """What is learned; decides the caption templates: object, style or negative."""
    vectors: int = 0
    """Token positions the embedding takes, 1 to 16; 0 = one per token of the initializer, 4 at
    most. More hold more detail, and are harder to combine with other words."""
    optimizer: Optimizer = "directional"
    """directional: the norm is held and only the direction learned, which keeps prompts editable
    (Directional Textual Inversion, arXiv 2512.13672); adamw: classic textual inversion."""
    rate: str = "0.04"
    """Learning rate of one step, in radians for directional; a number or AUTOMATIC1111's schedule
    ``0.005:100, 1e-3:1000`` (rate until step). Never scaled by batch or accumulation."""
    warmup: int = 10
    """Steps over which the rate rises from nothing."""
    cosine: bool = True
    """Whether the rate falls to zero along a cosine until the last step."""
    pull: float = 1e-4
    """Directional: pull of the vectors back to the initializer, 0 to 5e-4, beside gradients of
    length 1e-3; 0 = closest likeness, more = follows the rest of the prompt better."""
    steps: int = 500
    """Updates of the vectors, 1 to 20000."""
    batch: int = 4
    """Samples computed together, 1 to 64."""
    accumulation: int = 1
    """Batches per update, 1 to 64; saves memory at the price of time."""
    clip: float = 0.0
    """Adamw: largest norm of the gradient of one update; 0 = not clipped."""
    min_snr: float = 0.0
    """Weight of the loss at little noise is cut as in Min-SNR (arXiv 2303.09556), usually 5;
    0 = plain loss."""
    captions: Captions = "templates"
    """templates: sentences around the name; filewords: the same, followed by the text file beside
    each picture; files: only that text, which must hold the name or ``[name]``."""
    templates: tuple[str, ...] = ()
    """Own sentences with ``[name]`` and maybe ``[filewords]``; empty = those of the kind."""
    append_initializer: bool = False
    """Whether the initializer follows the name in each caption ("a photo of NAME person")."""
    caption_dropout: float = 0.0
    """Share of the samples, 0 to 1, whose caption is the name alone."""
    tag_dropout: float = 0.0
    """Share, 0 to 1, of the tags (between commas) of a picture's text that are left out each time;
    never the one that holds the name."""
    shuffle_tags: bool = False
    """Whether the tags of a picture's text come in another order each time."""
    size: int = 0
    """Side of the square training pictures in pixels, a multiple of the model's latent scale;
    0 = the side the model was made for."""
    buckets: bool = False
    """Whether pictures keep about their shape: each is cut to the nearest of several sizes that
    have the square's area at most, and every batch is of one size."""
    crops: int = 1
    """Cuttings per picture, 1 to 8: the centre, then random ones (for styles)."""
    places: tuple[float, ...] = ()
    """Where along its long side the square is cut from each picture, 0 (left or top) to 1 (right
    or bottom), in the order of the pictures; -1, and those left out = where it has most detail.
    With ``buckets`` the same of the side that is cut."""
    flip: bool = False
    """Whether mirrored pictures are added; wrong for writing and asymmetric things."""
    use_mask: bool = True
    """Whether transparent parts of a picture are left out of the loss."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision in which a UNet that was loaded in float32 computes; auto = bf16 where the device
    is made for it. The vectors and the loss are always float32."""
    gradient_checkpointing: bool = False
    """Computes parts twice to save memory: a third more time, about 0.5 GiB less per sample."""
    seed: int = 0
    """Decides every draw: pictures' order, captions, noise, timesteps."""
    evaluate_every: int = 25
    """Steps between evaluations, each kept as a checkpoint that can be installed."""
    evaluation_tuples: int = 16
    """Fixed (picture, noise, timestep) tuples per evaluation; the final one takes twice as many."""
    hold_out: bool = True
    """Whether one picture is kept from training, to tell learning from memorising (from five
    pictures on)."""
    stop_early: bool = False
    """Whether to end when the evaluations no longer move (DVAR, arXiv 2302.04841); for a constant
    rate."""
    preview_every: int = 100
    """Steps between previews; 0 = none."""
    preview_prompts: tuple[str, ...] = ("a photo of [name]", "[name] in the snow")
    """Prompts of the previews, with ``[name]``. Of a fault's those without it are drawn with the
    name in the negative prompt."""

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadField(name, f"“{name}” is {value!r}; it must be a number.")
            if not low <= value <= high:
                raise BadField(name, f"“{name}” is {value}; it must be from {low:g} to {high:g}.")
        if self.kind not in ("object", "style", "negative"):
            raise BadField("kind", f"“{self.kind}” is no kind; use object, style or negative.")
        if self.optimizer not in ("directional", "adamw"):
            raise BadField("optimizer", f"“{self.optimizer}” is no optimizer this app has.")
        if self.captions not in ("templates", "filewords", "files"):
            raise BadField("captions", "Captions are templates, filewords or files.")
        if self.precision not in ("auto", "fp32", "bf16", "fp16"):
            raise BadField("precision", "The precision is auto, fp32, bf16 or fp16.")
        for line in self.templates:
            if "[name]" not in line:
                raise BadField("templates", f"The template “{line}” lacks [name].")
        for place in self.places:
            if isinstance(place, bool) or not isinstance(place, int | float):
                raise BadField("places", f"The place {place!r} is no number.")
            if place != -1 and not 0 <= place <= 1:
                raise BadField("places", f"The place {place} is neither -1 nor from 0 to 1.")
        parse_rate(self.rate)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON can hold it."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from ``to_dict``'s answer; BadField names a key that does not exist."""
        known = {item.name for item in fields(cls)}
        for key in values:
            if key not in known:
                raise BadField(key, f"A recipe has no setting “{key}”.")
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})


_RANGES: Mapping[str, tuple[float, float]] = {
    "vectors": (0, 16),
    "warmup": (0, 20000),
    "pull": (0, 1),
    "steps": (1, 20000),
    "batch": (1, 64),
    "accumulation": (1, 64),
    "clip": (0, 1000),
    "min_snr": (0, 100),
    "caption_dropout": (0, 1),
    "tag_dropout": (0, 1),
    "size": (0, 2048),
    "crops": (1, 8),
    "seed": (0, 2**63 - 1),
    "evaluate_every": (1, 20000),
    "evaluation_tuples": (2, 256),
    "preview_every": (0, 20000),
}


def parse_rate(text: str) -> tuple[tuple[float, int], ...]:
    """Read ``0.005:100, 1e-3:1000, 1e-5`` as ((rate, last step), …); no step or -1 = to the end.

    Raises BadField("rate") for anything else.
    """
    pieces = []
    for part in str(text).split(","):
        number, _, until = part.strip().partition(":")
        try:
            rate, last = float(number), int(until) if until.strip() else -1
        except ValueError:
            raise BadField(
                "rate", f"The learning rate “{text}” is neither a number nor “0.005:100, 0.001”."
            ) from None
        if not (math.isfinite(rate) and 0 < rate <= 10):
            raise BadField("rate", f"The learning rate {number.strip()} is not between 0 and 10.")
        if last != -1 and (last < 1 or (pieces and last <= pieces[-1][1])):
            raise BadField("rate", f"The steps in the learning rate “{text}” must rise.")
        if pieces and pieces[-1][1] == -1:
            raise BadField("rate", f"In “{text}” something follows a rate that has no last step.")
        pieces.append((rate, last))
    return tuple(pieces)


def rate_at(recipe: Recipe, step: int) -> float:
    """Return the learning rate of ``step``, counted from 1 to ``last_step(recipe)``."""
    base = next(rate for rate, last in parse_rate(recipe.rate) if last == -1 or step <= last)
    warm = min(1.0, step / (recipe.warmup + 1))
    if not recipe.cosine:
        return base * warm
    return base * warm * 0.5 * (1 + math.cos(math.pi * (step - 1) / last_step(recipe)))


def last_step(recipe: Recipe) -> int:
    """Return the step a run ends with; a rate schedule that ends earlier ends the run."""
    last = parse_rate(recipe.rate)[-1][1]
    return recipe.steps if last == -1 else min(recipe.steps, last)


def rate_advice(recipe: Recipe) -> str | None:
    """Warn of a rate so low that the vectors stay where they are, whatever is to be learned."""
    way = sum(rate_at(recipe, step) for step in range(1, last_step(recipe) + 1))
    if recipe.optimizer == "adamw" and way < USUAL_NUMBER / 2:
        return (
            "The learning rate is too low: AdamW moves a number of a vector by at most the rate in "
            f"a step, {way:.2g} in all of this run, and those numbers are about {USUAL_NUMBER:g}. "
            "Hardly anything will be learned; 5e-4 to 5e-3 are usual."
        )
    if recipe.optimizer == "directional" and way < LEAST_TURN:
        return (
            f"The learning rate is too low: in all of this run a vector turns by at most {way:.2g} "
            "radians. Hardly anything will be learned; 0.04 to 0.08 are usual."
        )
    return None


@dataclass(frozen=True)
class Preset:
    """A recipe for one purpose, in words for people, with what small models need otherwise."""

    label: str
    summary: str
    """One sentence: what it is for, and what it takes."""
    recipe: Recipe
    starter: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ for the starter model, whose few weights learn in fewer steps."""


_OBJECT = Recipe()
_SMALL = {"steps": 250, "rate": "0.14", "warmup": 4, "vectors": 3, "preview_every": 125}
_FAULT_PROMPTS = ("a photo of a house", "a photo, [name]")

PRESETS: Mapping[str, Preset] = {
    "draft": Preset(
        "Draft",
        "A first look in a third of the time; good enough to see whether the pictures suit.",
        replace(_OBJECT, steps=150, rate="0.06", preview_every=150, evaluate_every=50),
        {"steps": 75, "rate": "0.1", "warmup": 4, "vectors": 2, "preview_every": 75},
    ),
    "object": Preset(
        "Object", "A thing, an animal, a character: the usual choice.", _OBJECT, _SMALL
    ),
    "person": Preset(
        "Person",
        "A face: two vectors, and the initializer is kept in every caption.",
        replace(_OBJECT, vectors=2, append_initializer=True),
        _SMALL | {"vectors": 2},
    ),
    "style": Preset(
        "Style",
        "A way of drawing or painting: several cuttings of each picture, more freedom.",
        replace(
            _OBJECT,
            kind="style",
            vectors=4,
            pull=5e-5,
            crops=4,
            use_mask=False,
            steps=400,
            preview_prompts=("a house in the style of [name]", "a flower in the style of [name]"),
        ),
        _SMALL | {"vectors": 2, "rate": "0.1", "crops": 1},
    ),
    "negative": Preset(
        "Negative",
        "Pictures of a fault, to be written into the negative prompt.",
        replace(
            _OBJECT,
            kind="negative",
            vectors=6,
            pull=0.0,
            steps=400,
            preview_prompts=_FAULT_PROMPTS,
        ),
        _SMALL | {"vectors": 4, "rate": "0.1"},
    ),
    "classic": Preset(
        "Classic",
        "AdamW with a free norm, as diffusers trains by default: slower, bends prompts more.",
        replace(
            _OBJECT,
            optimizer="adamw",
            rate="2e-3",
            warmup=0,
            cosine=False,
            steps=3000,
            batch=1,
            accumulation=4,
            stop_early=True,
            preview_every=500,
        ),
        {"rate": "5e-3", "steps": 500, "batch": 4, "accumulation": 1, "preview_every": 250},
    ),
    "low_vram": Preset(
        "Low VRAM",
        "As Object in about 3 GiB: one sample at a time, parts computed twice.",
        replace(_OBJECT, batch=1, accumulation=4, gradient_checkpointing=True, preview_every=0),
        _SMALL | {"preview_every": 0},
    ),
}


def preset(key: str, family: str) -> Recipe:
    """Return a preset's recipe for a model family (a key of ``FAMILIES``)."""
    if key not in PRESETS:
        raise BadField("preset", f"There is no preset “{key}”; there are {', '.join(PRESETS)}.")
    chosen = PRESETS[key]
    return replace(chosen.recipe, **chosen.starter) if family == "starter" else chosen.recipe
