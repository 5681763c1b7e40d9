"""A request as the "parameters" text that AUTOMATIC1111 writes into pictures, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from webui import __version__
from webui.generation.request import (
    EMPHASES,
    MAX_CFG,
    MAX_CLIP_SKIP,
    MAX_HIRES_SCALE,
    MAX_HIRES_SIZE,
    MAX_SEED,
    MAX_SIZE,
    MAX_STEPS,
    MIN_SIZE,
    SIZE_STEP,
    GenerationRequest,
)
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES, split_sampler
from webui.generation.upscaling import UPSCALERS

NEGATIVE = "Negative prompt:"
# Bounded, so that a hostile text is read in a time that grows with its length alone.
_PAIR = re.compile(r'(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])*"|\{[^{}]*\}|[^,]*)(?:,|$)')
ANYWHERE = "Embedding names"
"""Our key that says that names were also found inside other words."""
SCHEDULES = "Prompt schedules"
"""Our key that says that prompts changed one step late."""
PLACED = "Embedding placed"
"""Our key that says where a plot put an embedding."""
_FEWEST_PAIRS = 3
"""A last line with fewer pairs is a line of the prompt, not the settings."""
_LONGEST_TOLD, _MOST_TOLD = 60, 12
"""Characters of a value, and settings, that are told to people."""
_USUAL = GenerationRequest()
_USUAL_IF_MISSING = (
    "schedule_type",
    "clip_skip",
    "emphasis",
    "match_anywhere",
    "late_schedules",
    "subseed",
    "subseed_strength",
    "hires",
    "hires_upscaler",
    "hires_scale",
    "hires_width",
    "hires_height",
    "hires_steps",
)
_NUMBERS: Sequence[tuple[str, str, type, float, float]] = (
    ("Steps", "steps", int, 1, MAX_STEPS),
    ("CFG scale", "cfg_scale", float, 1, MAX_CFG),
    ("Seed", "seed", int, 0, MAX_SEED),
    ("Clip skip", "clip_skip", int, 1, MAX_CLIP_SKIP),
    ("Variation seed", "subseed", int, 0, MAX_SEED),
    ("Variation seed strength", "subseed_strength", float, 0, 1),
    ("Hires upscale", "hires_scale", float, 1, MAX_HIRES_SCALE),
    ("Hires steps", "hires_steps", int, 0, MAX_STEPS),
    ("Denoising strength", "denoising_strength", float, 0, 1),
)
"""Key, field of GenerationRequest, kind and limits of the settings that are numbers."""
_READ = {
    "Size",
    "Sampler",
    "Schedule type",
    "Emphasis",
    "Hires upscaler",
    "Hires resize",
    ANYWHERE,
    SCHEDULES,
}
"""Keys of the other settings that become fields of a request."""
_WITHOUT_EFFECT = {
    "Batch pos",
    "Batch size",
    "Embeddings",
    "Hashes",
    "Lora hashes",
    "Model",
    "Model hash",
    PLACED,
    "Script",
    "TI",
    "TI hashes",
    "Training run",
    "Training step",
    "User",
    "Version",
    *(f"{axis} {what}" for axis in "XYZ" for what in ("Type", "Values")),
}
"""Keys that say something about a picture but change nothing that a control could."""


def write_infotext(
    request: GenerationRequest,
    *,
    model_name: str,
    model_hash: str,
    embeddings: Mapping[str, str] | None = None,
) -> str:
    """Return the parameters text of one picture, in AUTOMATIC1111's layout and order.

    ``request`` is that of the single picture (its own seed). ``embeddings`` maps the names used to
    the first 12 hex digits of their files' SHA-256 and becomes ``TI hashes``.
    """
    fields: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "Schedule type": request.schedule_type,
        "CFG scale": f"{request.cfg_scale:g}",
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": model_hash,
        "Model": model_name.replace(",", "").replace(":", ""),
    }
    if request.subseed_strength:
        fields["Variation seed"] = request.subseed
        fields["Variation seed strength"] = f"{request.subseed_strength:g}"
    if request.hires:
        fields |= _hires_fields(request)
    if request.clip_skip > 1:
        fields["Clip skip"] = request.clip_skip
    if request.emphasis != "Original":
        fields["Emphasis"] = request.emphasis
    if request.match_anywhere:
        fields[ANYWHERE] = "anywhere"
    if request.late_schedules:
        fields[SCHEDULES] = "late"
    if embeddings:
        fields["TI hashes"] = ", ".join(
            f"{re.sub('[:,]', '', name)}: {digest}" for name, digest in embeddings.items()
        )
    fields["Version"] = f"Embeddings WebUI {__version__}"
    return compose(request.prompt, request.negative_prompt, fields)


def _hires_fields(request: GenerationRequest) -> dict[str, object]:
    """Return what the settings say of a second pass."""
    fields: dict[str, object] = {"Denoising strength": f"{request.denoising_strength:g}"}
    if request.hires_width or request.hires_height:
        fields["Hires resize"] = f"{request.hires_width}x{request.hires_height}"
    else:
        fields["Hires upscale"] = f"{request.hires_scale:g}"
    if request.hires_steps:
        fields["Hires steps"] = request.hires_steps
    return fields | {"Hires upscaler": request.hires_upscaler}


def read_infotext(text: str) -> tuple[GenerationRequest, dict[str, str]]:
    """Return the request that a parameters text describes, and all its ``key: value`` pairs.

    Keys that are missing or cannot be used mean the defaults; ``read_settings`` says which were
    understood. Any text is accepted: what is no setting is prompt.
    """
    *lines, last = text.strip().split("\n")
    pairs = {m[1].strip(): _unquoted(m[2].strip()) for m in _PAIR.finditer(last)}
    if len(pairs) < _FEWEST_PAIRS or "Steps" not in pairs:
        lines, pairs = [*lines, last], {}
    start = next((n for n, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[start:]).removeprefix(NEGATIVE).strip()
    request = GenerationRequest(prompt="\n".join(lines[:start]).strip(), negative_prompt=negative)
    return replace(request, **read_settings(pairs).values), pairs


@dataclass(frozen=True)
class Settings:
    """What the pairs of a parameters text say about a request."""

    values: Mapping[str, object]
    """Fields of GenerationRequest with values within their limits."""
    refused: tuple[str, ...]
    """Sentences about what could not be taken."""


def read_settings(pairs: Mapping[str, str]) -> Settings:
    """Return the settings of a picture that can be used here, and what cannot.

    Settings that AUTOMATIC1111 only writes when they are unusual are given their usual values when
    they are missing. Sampler names of old versions with the schedule type at their end
    ("DPM++ 2M Karras") are understood.
    """
    if not pairs:
        return Settings({}, ())
    values: dict[str, object] = {field: getattr(_USUAL, field) for field in _USUAL_IF_MISSING}
    refused: list[str] = []
    for key, field, kind, low, high in _NUMBERS:
        if key in pairs:
            number = _number(pairs[key], kind, low, high)
            if number is None:
                refused.append(
                    f"“{key}: {_short(pairs[key])}” was not taken; it must be a number between "
                    f"{low:g} and {high:.12g}."
                )
            else:
                values[field] = number
    for read in (_read_size, _read_sampler, _read_hires, _read_prompt_reading):
        read(pairs, values, refused)
    known = {key for key, *_ in _NUMBERS} | _READ | _WITHOUT_EFFECT
    others = [f"{key}: {_short(value)}" for key, value in pairs.items() if key not in known]
    if others:
        more = f" and {len(others) - _MOST_TOLD} more" if len(others) > _MOST_TOLD else ""
        refused.append(f"There is no control here for {', '.join(others[:_MOST_TOLD])}{more}.")
    return Settings(values, tuple(refused))


def embedding_hashes(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return the embeddings that a picture's settings name, with their hashes, "" for none.

    Reads ``TI hashes`` of AUTOMATIC1111, ``TI`` of Forge, ``Embeddings`` of SD.Next and the
    ``Hashes`` that other programs write for Civitai. A hash is the beginning of the SHA-256 of
    the embedding's file, 10 or 12 hex digits.
    """
    entries = (entry.rsplit(":", 1) for entry in pairs.get("TI hashes", "").split(","))
    found = {entry[0].strip(): entry[1].strip() for entry in entries if len(entry) == 2}
    for key, digest in _json_object(pairs.get("Hashes", "")).items():
        if key.startswith("embed:") and isinstance(digest, str):
            found.setdefault(key.removeprefix("embed:").strip(), digest.strip())
    for key in ("TI", "Embeddings"):
        for name in pairs.get(key, "").split(","):
            found.setdefault(name.strip(), "")
    found.pop("", None)
    return found


def with_pairs(text: str, pairs: Mapping[str, object]) -> str:
    """Return a parameters text with more ``key: value`` pairs at its end."""
    return ", ".join([text, *(f"{key}: {_quoted(str(value))}" for key, value in pairs.items())])


def compose(prompt: str, negative_prompt: str, pairs: Mapping[str, object]) -> str:
    """Return a parameters text of two prompts and ``key: value`` pairs."""
    lines = [prompt.strip()]
    if negative_prompt.strip():
        lines.append(f"{NEGATIVE} {negative_prompt.strip()}")
    lines.append(", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items()))
    return "\n".join(lines)


def _number(text: str, kind: type, low: float, high: float) -> float | None:
    """Return a number of a setting, or None if it is none or outside its limits."""
    try:
        value = kind(text)
    except ValueError:
        return None
    return value if low <= value <= high else None


def _read_size(pairs: Mapping[str, str], values: dict[str, object], refused: list[str]) -> None:
    if "Size" in pairs and (sides := _sides("Size", pairs["Size"], MIN_SIZE, MAX_SIZE, refused)):
        values["width"], values["height"] = sides


def _read_hires(pairs: Mapping[str, str], values: dict[str, object], refused: list[str]) -> None:
    """Read the second pass; it took place if the picture says anything about its size."""
    values["hires"] = not {"Hires upscale", "Hires resize", "Hires upscaler"}.isdisjoint(pairs)
    upscaler = pairs.get("Hires upscaler", _USUAL.hires_upscaler)
    if upscaler in UPSCALERS:
        values["hires_upscaler"] = upscaler
    else:
        refused.append(f"There is no upscaler “{_short(upscaler)}” here; choose another one.")
    if "Hires resize" in pairs and (
        sides := _sides("Hires resize", pairs["Hires resize"], 0, MAX_HIRES_SIZE, refused)
    ):
        values["hires_width"], values["hires_height"] = sides


def _sides(key: str, text: str, low: int, high: int, refused: list[str]) -> list[int]:
    """Return the width and height of a size such as 512x768, or none after saying why not."""
    match = re.fullmatch(r"(\d{1,5}) ?[x×] ?(\d{1,5})", text)
    sides = [int(side) for side in match.groups()] if match else []
    if not sides or any(side % SIZE_STEP or not low <= side <= high for side in sides):
        refused.append(
            f"“{key}: {_short(text)}” was not taken; both sides must be multiples of {SIZE_STEP} "
            f"between {low} and {high}."
        )
        return []
    return sides


def _read_sampler(pairs: Mapping[str, str], values: dict[str, object], refused: list[str]) -> None:
    written = pairs.get("Sampler", "")
    sampler, schedule = split_sampler(written)
    schedule = pairs.get("Schedule type", schedule)
    if sampler in SAMPLERS:
        values["sampler"] = sampler
    elif written:
        refused.append(f"There is no sampler “{_short(written)}” here; choose another one.")
    if schedule in SCHEDULE_TYPES:
        values["schedule_type"] = schedule
    else:
        refused.append(f"There is no schedule type “{_short(schedule)}” here.")


def _read_prompt_reading(
    pairs: Mapping[str, str], values: dict[str, object], refused: list[str]
) -> None:
    emphasis = pairs.get("Emphasis", _USUAL.emphasis)
    if emphasis in EMPHASES:
        values["emphasis"] = emphasis
    else:
        refused.append(f"There is no emphasis “{_short(emphasis)}” here.")
    values["match_anywhere"] = pairs.get(ANYWHERE) == "anywhere"
    values["late_schedules"] = pairs.get(SCHEDULES) == "late"


def _short(value: str) -> str:
    """Return a value as it is told to people, cut where it is long."""
    return value if len(value) <= _LONGEST_TOLD else f"{value[:_LONGEST_TOLD]}…"


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _quoted(value: str) -> str:
    """Return a value as it stands, or as a JSON string where it would confuse the reader."""
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:"\n]', value) else value


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except (ValueError, RecursionError):
        return value
