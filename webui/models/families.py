"""The families of Stable Diffusion that the app knows, told apart by their vector widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What all checkpoints of one kind have in common."""

    key: str
    label: str
    """As on the cards: SD1, SD2, SDXL, Starter."""
    widths: Mapping[str, int]
    """Vector width per text encoder."""
    size: int
    """Side in pixels the checkpoints were trained at."""


FAMILIES: Mapping[str, Family] = {
    family.key: family
    for family in (
        Family("starter", "Starter", {"clip_l": 128}, 256),
        Family("sd1", "SD1", {"clip_l": 768}, 512),
        Family("sd2", "SD2", {"clip_h": 1024}, 768),
        Family("sdxl", "SDXL", {"clip_l": 768, "clip_g": 1280}, 1024),
    )
}


def family_of_widths(widths: Mapping[str, int]) -> Family | None:
    """Return the family whose text encoders have exactly these widths, or None."""
    for family in FAMILIES.values():
        if dict(family.widths) == dict(widths):
            return family
    return None


def describe_widths(widths: Mapping[str, int]) -> str:
    """Return widths for people, e.g. ``768+1280``."""
    return "+".join(str(width) for _, width in sorted(widths.items(), key=lambda item: item[1]))


def incompatibility(
    embedding: Mapping[str, int],
    model: Mapping[str, int],
    model_name: str,
    first_encoder: bool = False,
) -> str | None:
    """Say why vectors of these widths cannot be used with a model, or return None if they can.

    An embedding fits if it has vectors of the right width for every text encoder of the model
    (vectors for further encoders do no harm), or with ``first_encoder`` for its first.
    """
    if first_encoder:
        model = dict([next(iter(model.items()))])
    if all(embedding.get(key) == width for key, width in model.items()):
        return None
    made_for = family_of_widths(embedding)
    widths = describe_widths(embedding)
    needed = describe_widths(model)
    if first_encoder:
        return f"Made for SDXL's first text encoder ({widths}); “{model_name}” needs {needed}."
    kind = f"{made_for.label} ({widths})" if made_for else f"a model of width {widths}"
    return f"Made for {kind}; “{model_name}” needs {needed}."
