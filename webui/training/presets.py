"""Presets: recipes for one purpose each, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from webui.errors import BadField
from webui.training.recipe import Recipe


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
_SMALL = {
    "steps": 150,
    "learning_rate": "0.14",
    "warmup_steps": 4,
    "vectors": 3,
    "preview_every": 75,
    "background": "plain",
}
_FAULT_PROMPTS = ("a photo of a house", "a photo, [name]")

PRESETS: Mapping[str, Preset] = {
    "draft": Preset(
        "Draft",
        "A first look in a third of the time; good enough to see whether the images suit.",
        replace(_OBJECT, steps=150, learning_rate="0.06", preview_every=150, evaluate_every=50),
        _SMALL | {"steps": 50, "learning_rate": "0.1", "vectors": 2, "preview_every": 50},
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
    "pivotal": Preset(
        "Embedding + LoRA",
        "As Object, with a LoRA of the model beside the embedding, for what no words reach.",
        replace(_OBJECT, lora_rank=8),
        _SMALL | {"lora_learning_rate": 1e-3},
    ),
    "style": Preset(
        "Style",
        "A way of drawing or painting: several crops of each image, more freedom. Captions or file "
        "names should say what is on the images.",
        replace(
            _OBJECT,
            kind="style",
            caption_mode="filewords",
            vectors=4,
            prior_weight=5e-5,
            crops=4,
            use_mask=False,
            steps=400,
            preview_prompts=("a house in the style of [name]", "a flower in the style of [name]"),
        ),
        _SMALL | {"vectors": 2, "learning_rate": "0.1", "crops": 1},
    ),
    "negative": Preset(
        "Negative",
        "Images of a fault, to be written into the negative prompt.",
        replace(
            _OBJECT,
            kind="negative",
            vectors=6,
            prior_weight=0.0,
            steps=400,
            preview_prompts=_FAULT_PROMPTS,
        ),
        _SMALL | {"vectors": 4, "learning_rate": "0.1"},
    ),
    "classic": Preset(
        "Classic",
        "AdamW with a free norm, as diffusers trains by default: slower, bends prompts more.",
        replace(
            _OBJECT,
            optimizer="adamw",
            learning_rate="2e-3",
            warmup_steps=0,
            lr_scheduler="constant",
            steps=3000,
            batch_size=1,
            gradient_accumulation_steps=4,
            stop_early=True,
            preview_every=500,
        ),
        {
            "learning_rate": "5e-3",
            "steps": 500,
            "batch_size": 4,
            "gradient_accumulation_steps": 1,
            "preview_every": 250,
        },
    ),
    "low_vram": Preset(
        "Low VRAM",
        "As Object in about 3 GiB: one sample at a time, gradient checkpointing.",
        replace(
            _OBJECT,
            batch_size=1,
            gradient_accumulation_steps=4,
            gradient_checkpointing=True,
            preview_every=0,
        ),
        _SMALL | {"preview_every": 0},
    ),
}


def preset(key: str, family: str) -> Recipe:
    """Return a preset's recipe for a model family (a key of ``FAMILIES``)."""
    if key not in PRESETS:
        raise BadField("preset", f"There is no preset “{key}”; there are {', '.join(PRESETS)}.")
    chosen = PRESETS[key]
    return replace(chosen.recipe, **chosen.starter) if family == "starter" else chosen.recipe


def decided_by_presets() -> tuple[str, ...]:
    """Return the settings that presets differ in, from each other or from the usual recipe."""
    usual = asdict(Recipe())
    recipes = [asdict(preset(key, family)) for key in PRESETS for family in ("sd1", "starter")]
    return tuple(name for name in usual if any(each[name] != usual[name] for each in recipes))
