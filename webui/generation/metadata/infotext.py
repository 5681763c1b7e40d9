"""A request as the "parameters" text that AUTOMATIC1111 writes into pictures, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from webui import __version__
from webui.errors import BadField
from webui.generation.request import (
    FIELDS,
    SAME_SAMPLER,
    SAME_SCHEDULE,
    GenerationRequest,
    RequestField,
    acts,
)
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES, split_sampler

T = TypeVar("T", list[Any], dict[str, Any])
NEGATIVE = "Negative prompt:"
# Bounded, so that a hostile text is read in a time that grows with its length alone.
_PAIR = re.compile(
    r'(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])*"|\{[^{}]*\}'
    r'|\[(?:"(?:\\.|[^\\"])*"|[^\[\]"])*\]|[^,]*)(?:,|$)'
)
PLACED = "Embedding placed"
"""Our key that says where a plot put an embedding."""
ETA_OF_DDIM = "Eta DDIM"
"""What the eta of samplers that go over timesteps is called."""
_FEWEST_PAIRS = 3
"""A last line with fewer pairs is a line of the prompt, not the settings."""
_LONGEST_SHOWN, _MOST_SHOWN = 60, 12
"""Characters of a value, and settings, that people are shown."""
_HIRES = {"Hires upscale", "Hires resize", "Hires upscaler", "Hires steps"}
"""Keys of which a picture with a second pass has some."""
_KEYS: dict[str, list[RequestField]] = {}
for _field in FIELDS.values():
    if _field.infotext:
        _KEYS.setdefault(_field.infotext, []).append(_field)
_ALIASES = {alias: key for key, (field, *_) in _KEYS.items() for alias in field.infotext_aliases}
_LAST = list(_KEYS)[list(_KEYS).index("Emphasis") :]
"""Keys that stand behind the hashes of LoRAs and embeddings."""
_FIRST = [key for key, (field, *_) in _KEYS.items() if field.always_written and not field.acts_if]
"""Keys that every text has; the model follows them."""
_WITHOUT_EFFECT = {
    "App",
    "Batch",
    "Batch pos",
    "Batch size",
    "Civitai metadata",
    "Civitai resources",
    "Created Date",
    "Distilled CFG Scale",
    "Embeddings",
    "Hashes",
    "HiRes mode",
    "Hires Module 1",
    "Hires force",
    "Hires size",
    "Index",
    "Lora hashes",
    "Model",
    "Model hash",
    "Operations",
    "Pipeline",
    PLACED,
    "Refine",
    "Script",
    "Styles",
    "TI",
    "TI hashes",
    "Training run",
    "Training step",
    "User",
    "VAE",
    "VAE hash",
    "Version",
    *(f"{axis} {what}" for axis in "XYZ" for what in ("Type", "Values")),
}
"""Keys that say something about a picture but change nothing that a control could."""


def write_infotext(
    request: GenerationRequest,
    *,
    model_name: str,
    model_hash: str,
    vae: tuple[str, str] | None = None,
    embeddings: Mapping[str, str] | None = None,
    loras: Mapping[str, tuple[str, str]] | None = None,
) -> str:
    """Return the parameters text of one picture, in AUTOMATIC1111's layout and order.

    ``request`` is that of the single picture (its own seed). ``vae`` is the name and short hash of
    the file that took the place of the checkpoint's VAE, if one did. ``embeddings`` maps the names
    used to the first 12 hex digits of their files' SHA-256 and becomes ``TI hashes``; ``loras``
    maps theirs to what ``lora_hashes`` returns. ``Hashes`` at the end is for Civitai.
    """
    embeddings, loras = embeddings or {}, loras or {}
    written = {key: _written(key, request) for key in _KEYS}
    fields: dict[str, object] = {key: written.pop(key) for key in _FIRST}
    fields["Model hash"] = model_hash
    fields["Model"] = model_name.replace(",", "").replace(":", "")
    if vae:
        fields["VAE hash"], fields["VAE"] = vae[1], vae[0]
    last = {key: written.pop(key) for key in _LAST}
    fields |= {key: value for key, value in written.items() if value is not None}
    for key, digests in (
        ("Lora hashes", {name: of_weights for name, (of_weights, _) in loras.items()}),
        ("TI hashes", embeddings),
    ):
        if digests:
            fields[key] = ", ".join(
                f"{re.sub('[:,]', '', name)}: {digest}" for name, digest in digests.items()
            )
    fields |= {key: value for key, value in last.items() if value is not None}
    if "Eta" in fields and SAMPLERS[request.sampler].by_timesteps:
        fields[ETA_OF_DDIM] = fields.pop("Eta")
    fields["Version"] = f"Embeddings WebUI {__version__}"
    files = {f"embed:{name}": digest[:10] for name, digest in embeddings.items()}
    files |= {f"lora:{name}": of_file for name, (_, of_file) in loras.items()}
    files |= {"vae": vae[1]} if vae else {}
    text = compose(request.prompt, request.negative_prompt, fields)
    return f"{text}, Hashes: {json.dumps(files | {'model': model_hash}, ensure_ascii=False)}"


def _written(key: str, request: GenerationRequest) -> str | None:
    """Return the value of a key, None where it is left out."""
    fields = _KEYS[key]
    values = [getattr(request, field.name) for field in fields]
    usual = values == [field.default for field in fields]
    if not acts(fields[0], request) or (usual and not fields[0].always_written):
        return None
    if word := fields[0].infotext_word:
        return word
    return "x".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


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
class InfotextSettings:
    """What the pairs of a parameters text say about a request."""

    values: Mapping[str, Any]
    """Fields of GenerationRequest with values within their limits."""
    refused: tuple[str, ...]
    """Sentences about what could not be taken."""


def read_settings(pairs: Mapping[str, str]) -> InfotextSettings:
    """Return the settings of a picture that can be used here, and what cannot.

    Settings that are only written when they are unusual, or together with others, are given their
    usual values when they are missing. Sampler names of old versions with the schedule type at
    their end ("DPM++ 2M Karras") are understood.
    """
    if not pairs:
        return InfotextSettings({}, ())
    values = {
        field.name: field.default
        for key, fields in _KEYS.items()
        for field in fields
        if key not in _FIRST
    }
    given = _in_our_words(pairs)
    values["hires"] = not _HIRES.isdisjoint(given)
    refused: list[str] = []
    for key in _KEYS:
        if key not in given:
            continue
        try:
            values |= _read(key, given[key])
        except BadField as error:
            refused.append(f"“{key}: {_short(given[key])}” was not taken. {error}")
    known = _KEYS.keys() | _WITHOUT_EFFECT | _ALIASES.keys()
    others = [f"{key}: {_short(value)}" for key, value in given.items() if key not in known]
    if others:
        more = f" and {len(others) - _MOST_SHOWN} more" if len(others) > _MOST_SHOWN else ""
        refused.append(f"Ignored (unsupported): {', '.join(others[:_MOST_SHOWN])}{more}.")
    return InfotextSettings(values, tuple(refused))


def _in_our_words(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return pairs as AUTOMATIC1111 1.10 would have written them.

    That is without the names of other programs for some keys and values, samplers of before 1.9
    with the schedule type at their end, and the hires fix of before 2023, whose ``Size`` is that
    after the second pass.
    """
    given = {_ALIASES.get(key, key): value for key, value in pairs.items()}
    for sampler_key, schedule_key, usual in (
        ("Sampler", "Schedule type", "Automatic"),
        ("Hires sampler", "Hires schedule type", SAME_SCHEDULE),
    ):
        sampler, schedule = split_sampler(given.get(sampler_key, ""))
        if sampler:
            given[sampler_key] = sampler
        given.setdefault(schedule_key, usual if schedule == "Automatic" else schedule)
    first = given.pop("First pass size", "")
    if re.fullmatch(r"[1-9]\d*x[1-9]\d*", first) and "Size" in given:
        given["Hires resize"], given["Size"] = given["Size"], first
    if (levels := given.pop("Sampler sigma", "").capitalize()) in SCHEDULE_TYPES:  # SD.Next's
        given["Schedule type"] = levels
    if given.get("Hires sampler") in ("Default", "Same as primary"):
        given["Hires sampler"] = SAME_SAMPLER
    return _as_then(given)


OURS = "Embeddings WebUI"
_VERSION = re.compile(rf"(?:^|({OURS}) |v)(\d+)\.(\d+)")


def _as_then(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return the pairs with what the version of the program that wrote them always did.

    Ours drew its noise on the CPU before 0.2, padded the shorter prompt, and switched schedules a
    step earlier. Of AUTOMATIC1111's versions it is what the program itself goes back to.
    """
    found = dict(pairs)
    if ETA_OF_DDIM in found:
        found.setdefault("Eta", found.pop(ETA_OF_DDIM))
    match = _VERSION.search(found.get("Version", ""))
    if match is None:
        return found
    version = int(match[2]), int(match[3])
    if match[1]:
        if version < (0, 2):
            then = {"RNG": "CPU", "Pad conds": "True", "Prompt schedules": "early"}
            found = then | found
        return found
    if version < (1, 6):
        found.setdefault("Old prompt editing timelines", "True")
    if version < (1, 8):
        found.setdefault("Downcast alphas_cumprod", "True")
    return found


def _read(key: str, text: str) -> dict[str, Any]:
    """Return the fields that a key's value stands for; raises BadField."""
    fields = _KEYS[key]
    if word := fields[0].infotext_word:
        return {fields[0].name: text == word}
    parts = re.split(r" ?[x×] ?", text) if len(fields) > 1 else [text]
    if len(parts) != len(fields):
        raise BadField(fields[0].name, f"{key} must be like 512x768.")
    return {field.name: field.check(part) for field, part in zip(fields, parts, strict=True)}


def embedding_hashes(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return the embeddings that a picture's settings name, with their hashes, "" for none.

    Reads ``TI hashes`` of AUTOMATIC1111, ``TI`` of Forge, ``Embeddings`` of SD.Next and the
    ``Hashes`` that other programs write for Civitai. A hash is the beginning of the SHA-256 of
    the embedding's file, 10 or 12 hex digits.
    """
    entries = (entry.rsplit(":", 1) for entry in pairs.get("TI hashes", "").split(","))
    found = {entry[0].strip(): entry[1].strip() for entry in entries if len(entry) == 2}
    for key, digest in _json(pairs.get("Hashes", ""), dict).items():
        if key.startswith("embed:") and isinstance(digest, str):
            found.setdefault(key.removeprefix("embed:").strip(), digest.strip())
    for key in ("TI", "Embeddings"):
        for name in pairs.get(key, "").split(","):
            found.setdefault(name.strip(), "")
    found.pop("", None)
    return found


@dataclass(frozen=True)
class Resource:
    """Something that CivitAI says an image was made with."""

    kind: str
    """checkpoint, embedding, lora, or CivitAI's own word in lower case."""
    name: str
    """Of the model on CivitAI, which is not that of its file."""
    version_id: int
    """Of its version there, 0 if it is not said."""


_KINDS = {"embed": "embedding", "textualinversion": "embedding", "locon": "lora", "dora": "lora"}


def civitai_resources(pairs: Mapping[str, str]) -> list[Resource]:
    """Return what ``Civitai resources`` lists, as far as it has names."""
    found = []
    for entry in _json(pairs.get("Civitai resources", ""), list):
        name = entry.get("modelName") if isinstance(entry, dict) else None
        if isinstance(name, str) and name.strip():
            kind, version = str(entry.get("type", "")).lower(), entry.get("modelVersionId")
            version_id = version if isinstance(version, int) else 0
            found.append(Resource(_KINDS.get(kind, kind), name.strip(), version_id))
    return found


def lora_names(pairs: Mapping[str, str]) -> list[str]:
    """Return the LoRAs that a picture's settings name: in ``Lora hashes`` or ``Hashes``."""
    entries = (entry.rsplit(":", 1) for entry in pairs.get("Lora hashes", "").split(","))
    names = [entry[0].strip() for entry in entries if len(entry) == 2]
    hashes = _json(pairs.get("Hashes", ""), dict)
    names += [key[5:].strip() for key in hashes if key.lower().startswith("lora:")]
    return list(dict.fromkeys(filter(None, names)))


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


def _short(value: str) -> str:
    """Return a value as people are shown it, cut where it is long."""
    return value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…"


def _json(text: str, kind: type[T]) -> T:
    """Return the value of JSON of a kind, an empty one for everything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return kind()
    return value if isinstance(value, kind) else kind()


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
