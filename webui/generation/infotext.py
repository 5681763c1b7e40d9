"""A request as the "parameters" text that AUTOMATIC1111 writes into pictures, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from webui import __version__
from webui.generation.request import EMPHASES, GenerationRequest
from webui.generation.samplers import SAMPLERS, SCHEDULE_TYPES

NEGATIVE = "Negative prompt:"
_PAIR = re.compile(r'\s*(\w[\w \-/]*):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
ANYWHERE = "Embedding names"
"""Our key that says that names were also found inside other words."""
_FEWEST_PAIRS = 3
"""A last line with fewer pairs is a line of the prompt, not the settings."""


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
    if request.clip_skip > 1:
        fields["Clip skip"] = request.clip_skip
    if request.emphasis != "Original":
        fields["Emphasis"] = request.emphasis
    if request.match_anywhere:
        fields[ANYWHERE] = "anywhere"
    if embeddings:
        fields["TI hashes"] = ", ".join(
            f"{re.sub('[:,]', '', name)}: {digest}" for name, digest in embeddings.items()
        )
    fields["Version"] = f"Embeddings WebUI {__version__}"
    lines = [request.prompt.strip()]
    if request.negative_prompt.strip():
        lines.append(f"{NEGATIVE} {request.negative_prompt.strip()}")
    lines.append(", ".join(f"{key}: {_quoted(str(value))}" for key, value in fields.items()))
    return "\n".join(lines)


def read_infotext(text: str) -> tuple[GenerationRequest, dict[str, str]]:
    """Return the request that a parameters text describes, and all its ``key: value`` pairs.

    Keys that are missing mean the defaults; sampler names of old versions with the schedule type
    at their end ("DPM++ 2M Karras") are understood. Any text is accepted: what is no setting is
    prompt.
    """
    *lines, last = text.strip().split("\n")
    pairs = {m[1].strip(): _unquoted(m[2].strip()) for m in _PAIR.finditer(last)}
    if len(pairs) < _FEWEST_PAIRS or "Steps" not in pairs:
        lines, pairs = [*lines, last], {}
    start = next((n for n, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[start:]).removeprefix(NEGATIVE).strip()
    request = GenerationRequest(prompt="\n".join(lines[:start]).strip(), negative_prompt=negative)
    return _with_settings(request, pairs), pairs


def embedding_hashes(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return the embeddings that a picture's settings name, with their hashes."""
    entries = (entry.rsplit(":", 1) for entry in pairs.get("TI hashes", "").split(","))
    return {entry[0].strip(): entry[1].strip() for entry in entries if len(entry) == 2}


def _with_settings(request: GenerationRequest, pairs: Mapping[str, str]) -> GenerationRequest:
    """Return the request with every setting of ``pairs`` that can be understood."""
    changes: dict[str, object] = {}
    for key, field, kind in (
        ("Steps", "steps", int),
        ("CFG scale", "cfg_scale", float),
        ("Seed", "seed", int),
        ("Clip skip", "clip_skip", int),
    ):
        try:
            changes[field] = kind(pairs[key])
        except (KeyError, ValueError):
            continue
    if size := re.fullmatch(r"(\d{1,5})x(\d{1,5})", pairs.get("Size", "")):
        changes["width"], changes["height"] = int(size[1]), int(size[2])
    sampler, schedule = pairs.get("Sampler", ""), pairs.get("Schedule type", "Automatic")
    for ending in SCHEDULE_TYPES:
        if sampler not in SAMPLERS and sampler.endswith(f" {ending}"):
            sampler, schedule = sampler.removesuffix(f" {ending}"), ending
    if pairs.get("Emphasis") in EMPHASES:
        changes["emphasis"] = pairs["Emphasis"]
    changes["match_anywhere"] = pairs.get(ANYWHERE) == "anywhere"
    if sampler in SAMPLERS:
        changes["sampler"] = sampler
    if schedule in SCHEDULE_TYPES:
        changes["schedule_type"] = schedule
    return replace(request, **changes)


def _quoted(value: str) -> str:
    """Return a value as it stands, or as a JSON string where it would confuse the reader."""
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:"\n]', value) else value


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
