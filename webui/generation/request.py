"""The request for pictures: all that decides what they look like, and its limits."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from webui.errors import BadField
from webui.generation.samplers import SAMPLERS, SCHEDULE_TYPES

EMPHASES: Mapping[str, str] = {
    "Original": "original",
    "No norm": "no_norm",
    "Ignore": "ignore",
    "None": "none",
    "ComfyUI": "comfy",
}
"""The ways in which weights can act, by AUTOMATIC1111's names, and as the prompt language's."""
SIZE_STEP = 8
"""Width and height are multiples of this many pixels (one latent)."""
MIN_SIZE, MAX_SIZE = 64, 2048
MAX_STEPS = 150
MAX_CFG = 30.0
MAX_BATCH_SIZE = 8
MAX_BATCH_COUNT = 100
MAX_SEED = 2**32 - 1
MAX_PROMPT = 20_000
"""Longest prompt in characters."""


@dataclass(frozen=True)
class GenerationRequest:
    """Equal requests with equal files give equal pictures (once the seed is not -1)."""

    prompt: str = ""
    negative_prompt: str = ""
    sampler: str = "DPM++ 2M"
    """A name of ``samplers.SAMPLERS``, as AUTOMATIC1111 calls it."""
    schedule_type: str = "Automatic"
    """A name of ``samplers.SCHEDULE_TYPES``."""
    steps: int = 20
    cfg_scale: float = 7.0
    """Classifier-free guidance: 1 is off, 4 to 10 is usual."""
    width: int = 512
    """Pixels."""
    height: int = 512
    """Pixels."""
    seed: int = -1
    """0 to 2**32 - 1 for the first picture, the next ones count up; -1 draws one."""
    batch_size: int = 1
    """Pictures drawn at once."""
    batch_count: int = 1
    """Batches drawn one after the other."""
    clip_skip: int = 1
    """1 uses the text encoder's last layer, 2 the one before, …"""
    emphasis: str = "Original"
    """How weights in the prompt act; a name of ``EMPHASES``."""
    match_anywhere: bool = False
    """Whether names of embeddings are found inside other words too, as AUTOMATIC1111 does."""

    @property
    def pictures(self) -> int:
        """How many pictures will be made."""
        return self.batch_size * self.batch_count


def checked(request: GenerationRequest) -> GenerationRequest:
    """Return the request with a drawn seed in place of -1.

    Raises BadField with the first field that cannot be used.
    """
    if not request.prompt.strip():
        raise BadField("prompt", "The prompt is empty. Write what the picture should show.")
    for field in ("prompt", "negative_prompt"):
        if len(getattr(request, field)) > MAX_PROMPT:
            raise BadField(field, f"A prompt may have at most {MAX_PROMPT:,} characters.")
    if request.sampler not in SAMPLERS:
        raise BadField(
            "sampler",
            f"There is no sampler “{request.sampler}”. Choose one of: {', '.join(SAMPLERS)}.",
        )
    if request.schedule_type not in SCHEDULE_TYPES:
        raise BadField(
            "schedule_type",
            f"There is no schedule type “{request.schedule_type}”. "
            f"Choose one of: {', '.join(SCHEDULE_TYPES)}.",
        )
    if request.emphasis not in EMPHASES:
        raise BadField(
            "emphasis",
            f"There is no emphasis “{request.emphasis}”. Choose one of: {', '.join(EMPHASES)}.",
        )
    _within("steps", "Steps", request.steps, 1, MAX_STEPS)
    _within("cfg_scale", "CFG scale", request.cfg_scale, 1, MAX_CFG)
    for field in ("width", "height"):
        value = getattr(request, field)
        _within(field, field.capitalize(), value, MIN_SIZE, MAX_SIZE)
        if value % SIZE_STEP:
            raise BadField(
                field, f"{field.capitalize()} must be a multiple of {SIZE_STEP}, not {value}."
            )
    _within("batch_size", "Batch size", request.batch_size, 1, MAX_BATCH_SIZE)
    _within("batch_count", "Batch count", request.batch_count, 1, MAX_BATCH_COUNT)
    _within("clip_skip", "Clip skip", request.clip_skip, 1, 12)
    _within("seed", "Seed", request.seed, -1, MAX_SEED)
    if request.seed == -1:
        request = replace(request, seed=secrets.randbelow(MAX_SEED + 1))
    return request


def _within(field: str, label: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise BadField(field, f"{label} must be between {low:g} and {high:.12g}, not {value:g}.")
