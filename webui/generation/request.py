"""The request for pictures: all that decides what they look like, and its limits."""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from webui.errors import BadField
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES
from webui.generation.upscaling import UPSCALERS

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
MAX_HIRES_SIZE = 4096
"""Longest side in pixels after the second pass."""
MAX_HIRES_SCALE = 4.0
MAX_STEPS = 150
MAX_CFG = 30.0
MAX_CLIP_SKIP = 12
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
    late_schedules: bool = False
    """Whether ``[a:b:n]`` and ``[a|b]`` switch one step later, as AUTOMATIC1111 does."""
    subseed: int = -1
    """Variation seed: the seed of a second noise, as ``seed``; -1 draws one. It acts only with a
    strength above 0; then all pictures share ``seed`` and the variation seeds count up."""
    subseed_strength: float = 0.0
    """0 is the first noise alone, 1 the second alone; 0.05 to 0.3 give close variations."""
    hires: bool = False
    """Hires fix: whether the picture is enlarged and drawn over in a second pass."""
    hires_upscaler: str = "Latent"
    """A name of ``upscaling.UPSCALERS``."""
    hires_scale: float = 2.0
    """How many times larger, 1 to 4; acts while ``hires_width`` and ``hires_height`` are 0."""
    hires_width: int = 0
    """Pixels after the second pass; 0 follows from the height."""
    hires_height: int = 0
    """Pixels after the second pass; 0 follows from the width."""
    hires_steps: int = 0
    """Steps of the second pass; 0 takes as many as the first."""
    denoising_strength: float = 0.7
    """How far the second pass goes back into noise: 0 changes nothing, 1 starts anew. The latent
    upscalers need 0.5 or more, Lanczos is good from 0.3."""
    styles: tuple[str, ...] = ()
    """Names of styles, in the order in which they are applied when the drawing starts."""
    save_grid: bool = False
    """Whether several pictures are also saved side by side as one, ``grid-*.png``."""

    @property
    def pictures(self) -> int:
        """How many pictures will be made."""
        return self.batch_size * self.batch_count

    @property
    def second_steps(self) -> int:
        """Steps of the second pass, 0 without one."""
        if not self.hires or self.denoising_strength == 0:
            return 0
        return self.hires_steps or self.steps

    @property
    def all_steps(self) -> int:
        """Steps of all batches and passes together."""
        return (self.steps + self.second_steps) * self.batch_count

    @property
    def hires_size(self) -> tuple[int, int]:
        """Width and height in pixels after the second pass, multiples of ``SIZE_STEP``."""
        width, height = self.hires_width, self.hires_height
        if not (width or height):
            width, height = self.width * self.hires_scale, self.height * self.hires_scale
        elif not height:
            height = width * self.height / self.width
        elif not width:
            width = height * self.width / self.height
        return int(width) // SIZE_STEP * SIZE_STEP, int(height) // SIZE_STEP * SIZE_STEP


def checked(request: GenerationRequest) -> GenerationRequest:
    """Return the request with a drawn seed in place of -1.

    Raises BadField with the first field that cannot be used.
    """
    if not request.prompt.strip():
        raise BadField("prompt", "The prompt is empty. Write what the picture should show.")
    for field in ("prompt", "negative_prompt"):
        if len(getattr(request, field)) > MAX_PROMPT:
            raise BadField(field, f"A prompt may have at most {MAX_PROMPT:,} characters.")
    _one_of("sampler", "sampler", request.sampler, SAMPLERS)
    _one_of("schedule_type", "schedule type", request.schedule_type, SCHEDULE_TYPES)
    _one_of("emphasis", "emphasis", request.emphasis, EMPHASES)
    _within("steps", "Steps", request.steps, 1, MAX_STEPS)
    _within("cfg_scale", "CFG scale", request.cfg_scale, 1, MAX_CFG)
    for field in ("width", "height"):
        _side(field, field.capitalize(), getattr(request, field), MAX_SIZE)
    _within("batch_size", "Batch size", request.batch_size, 1, MAX_BATCH_SIZE)
    _within("batch_count", "Batch count", request.batch_count, 1, MAX_BATCH_COUNT)
    _within("clip_skip", "Clip skip", request.clip_skip, 1, MAX_CLIP_SKIP)
    _within("seed", "Seed", request.seed, -1, MAX_SEED)
    _within("subseed", "Variation seed", request.subseed, -1, MAX_SEED)
    _within("subseed_strength", "Variation strength", request.subseed_strength, 0, 1)
    _check_hires(request)
    drawn = {
        field: secrets.randbelow(MAX_SEED + 1)
        for field in ("seed", "subseed")
        if getattr(request, field) == -1
    }
    return replace(request, **drawn)


def _check_hires(request: GenerationRequest) -> None:
    """Raise BadField for what the second pass cannot use; without one nothing is looked at."""
    if not request.hires:
        return
    _one_of("hires_upscaler", "upscaler", request.hires_upscaler, UPSCALERS)
    _within("hires_scale", "Upscale by", request.hires_scale, 1, MAX_HIRES_SCALE)
    _within("hires_steps", "Hires steps", request.hires_steps, 0, MAX_STEPS)
    _within("denoising_strength", "Denoising strength", request.denoising_strength, 0, 1)
    for field in ("hires_width", "hires_height"):
        if value := getattr(request, field):
            _side(field, field.replace("_", " ").capitalize(), value, MAX_HIRES_SIZE)
    field = "hires_width" if request.hires_width or request.hires_height else "hires_scale"
    if max(request.hires_size) > MAX_HIRES_SIZE or min(request.hires_size) < MIN_SIZE:
        raise BadField(
            field,
            f"The picture would become {request.hires_size[0]}×{request.hires_size[1]}; its sides "
            f"must be between {MIN_SIZE} and {MAX_HIRES_SIZE}.",
        )


def _one_of(field: str, label: str, value: str, names: Collection[str]) -> None:
    if value not in names:
        raise BadField(field, f"There is no {label} “{value}”. Choose one of: {', '.join(names)}.")


def _side(field: str, label: str, value: int, most: int) -> None:
    _within(field, label, value, MIN_SIZE, most)
    if value % SIZE_STEP:
        raise BadField(field, f"{label} must be a multiple of {SIZE_STEP}, not {value}.")


def _within(field: str, label: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise BadField(field, f"{label} must be between {low:g} and {high:.12g}, not {value:g}.")
