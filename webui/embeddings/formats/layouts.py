"""What the keys of a file mean: the layouts of A1111, diffusers, kohya, OneTrainer and others.

The layouts were described from files and from the programs that write them; the order in
``LAYOUTS`` goes from the most telling keys to the least.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from webui.embeddings.embedding import FIRST_ENCODER
from webui.embeddings.formats.source import Broken, Content, NotMine
from webui.embeddings.formats.vectors import is_tensor, joined, one_or_several
from webui.tensor_files.stored import Array, StoredTensor

MAX_TEXT = 200
"""Longest name or hash kept from inside a file."""
MAX_TOKENS = 64
"""Most placeholders of one diffusers file; a file with more tensors is something else."""


@dataclass(frozen=True)
class Found:
    """One embedding as found in a file."""

    layout: str
    """Who writes this layout, for people."""
    vectors: Mapping[str, Array]
    """Per text encoder, float32 ``[n, width]``."""
    inner_name: str | None = None
    step: int | None = None
    trained_on: str | None = None
    trained_on_hash: str | None = None
    initializer: str | None = None
    kind: str = ""
    """As in ``Embedding``."""


def find(content: Content) -> list[Found]:
    """Return the embeddings in a container's content.

    Raises Broken from the layout that recognised it, or with every layout's reason.
    """
    reasons = []
    for layout in LAYOUTS:
        try:
            found = layout(content.values)
            return [_with_metadata(one, content.metadata, len(found) == 1) for one in found]
        except NotMine as reason:
            reasons.append(str(reason))
    raise Broken("No known layout of an embedding fits it: " + "; ".join(reasons) + ".")


def clean_text(value: Any) -> str | None:
    """Return short printable text from a file, or None."""
    if not isinstance(value, str):
        return None
    text = value[: 4 * MAX_TEXT]
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable())
    return text.strip()[:MAX_TEXT] or None


def clean_step(value: Any) -> int | None:
    """Return a number of training steps from a number, text or 0-d tensor, or None."""
    if isinstance(value, StoredTensor) and value.count == 1:
        value = value.read().item()
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e11:
        return None
    return int(value)


def _a1111(values: Any) -> list[Found]:
    """``string_to_param``: A1111, and the original authors' files (several placeholders)."""
    if not isinstance(values, Mapping) or "string_to_param" not in values:
        raise NotMine("no “string_to_param” as in files of A1111")
    params = values["string_to_param"]
    tensors = (
        {str(key): value for key, value in params.items() if is_tensor(value)}
        if isinstance(params, Mapping)
        else {}
    )
    if not tensors:
        raise Broken("It is laid out like a file of A1111, but “string_to_param” has no vectors.")
    own_name = clean_text(values.get("name"))
    groups = one_or_several(tensors)
    groups.sort(key=lambda group: group[0] != "*")
    return [
        Found(
            "A1111",
            vectors,
            inner_name=own_name if own_name and len(groups) == 1 else clean_text(placeholder),
            step=clean_step(values.get("step")),
            trained_on=clean_text(values.get("sd_checkpoint_name")),
            trained_on_hash=clean_text(values.get("sd_checkpoint")),
        )
        for placeholder, vectors in groups
    ]


def _kohya(values: Any) -> list[Found]:
    """``emb_params`` of kohya; ``emp_params`` (so written) of OneTrainer, without its outputs."""
    if isinstance(values, Mapping):
        for key, layout in (("emb_params", "kohya"), ("emp_params", "OneTrainer")):
            if is_tensor(values.get(key)):
                [(_, vectors)] = one_or_several({key: values[key]})
                return [Found(layout, vectors, **_facts(values))]
    raise NotMine("no “emb_params” as in files of kohya")


def _encoder_keys(values: Any) -> list[Found]:
    """``clip_l``, ``clip_g`` and the like: SDXL files of kohya, OneTrainer and Civitai."""
    tensors = (
        {
            str(k): v
            for k, v in values.items()
            if str(k).startswith(("clip_", "t5")) and is_tensor(v)
        }
        if isinstance(values, Mapping)
        else {}
    )
    inputs = {key: value for key, value in tensors.items() if not key.endswith("_out")}
    if not inputs:
        raise NotMine("no “clip_l” or “clip_g” as in files for SDXL")
    groups = one_or_several(inputs)
    if len(groups) > 1:
        raise Broken(
            "It has vectors of the same width for two text encoders: " + ", ".join(inputs) + "."
        )
    layout = "OneTrainer" if len(tensors) > len(inputs) else "SDXL"
    vectors = groups[0][1]
    half = list(inputs) == list(vectors) == ["clip_l"]
    return [Found(layout, vectors, kind=FIRST_ENCODER if half else "", **_facts(values))]


def bundle(values: Any) -> list[Found]:
    """``bundle_emb.<name>.…``: embeddings that travel inside a LoRA file."""
    bundles: dict[str, dict[str, Any]] = {}
    for key, value in values.items() if isinstance(values, Mapping) else ():
        match = re.fullmatch(r"bundle_emb\.(.+?)\.(string_to_param\.\*|[^.]+)", str(key))
        if match and is_tensor(value) and not match[2].endswith("_out"):
            bundles.setdefault(match[1], {})[match[2]] = value
    if not bundles:
        raise NotMine("no “bundle_emb” as in a LoRA file that brings embeddings along")
    return [
        Found("LoRA bundle", one_or_several(tensors)[0][1], inner_name=clean_text(name))
        for name, tensors in bundles.items()
    ]


def _parts(values: Any) -> list[Found]:
    """A list of dicts, as some trainers for SD 2 write: all rows of one width belong together."""
    if not isinstance(values, list) or not values:
        raise NotMine("not a list of parts")
    tensors = []
    for part in values[:MAX_TOKENS]:
        inner = part.values() if isinstance(part, Mapping) else [part]
        tensors += [value for value in inner if is_tensor(value)]
    if not tensors:
        raise Broken("It is a list, as some trainers write, but there are no vectors in it.")
    return [Found("list of parts", joined(tensors))]


def _diffusers(values: Any) -> list[Found]:
    """``{"<token>": tensor}``: diffusers' learned_embeds, one or several tokens."""
    if is_tensor(values):
        return [Found("single tensor", one_or_several({"tensor": values})[0][1])]
    if not isinstance(values, Mapping):
        raise NotMine("no “<token>” with vectors as in files of diffusers")
    tensors = {str(key): value for key, value in values.items() if is_tensor(value)}
    _refuse_models(list(tensors))
    if not tensors:
        raise NotMine("no “<token>” with vectors as in files of diffusers")
    groups = one_or_several(tensors)
    facts = _facts(values)
    if len(groups) > 1:
        facts.pop("inner_name", None)  # the whole file's
    return [
        Found("diffusers", vectors, **{"inner_name": clean_text(token), **facts})
        for token, vectors in groups
    ]


def _refuse_models(keys: list[str]) -> None:
    """Raise Broken for files that hold a model rather than an embedding."""
    if any("lora" in key.lower() or key.startswith("hada_") for key in keys):
        raise Broken("It is a LoRA, not an embedding, and no embedding is bundled with it.")
    if len(keys) > MAX_TOKENS or any(key.endswith((".weight", ".bias")) for key in keys):
        raise Broken(
            "It holds the weights of a model, not an embedding. If it is a checkpoint, "
            "move it to the folder models/."
        )


def _facts(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what A1111's keys say beside the vectors, where a file has them."""
    name = clean_text(values.get("name"))
    return {
        **({"inner_name": name} if name else {}),
        "step": clean_step(values.get("step")),
        "trained_on": clean_text(values.get("sd_checkpoint_name")),
        "trained_on_hash": clean_text(values.get("sd_checkpoint")),
    }


def _with_metadata(found: Found, metadata: Mapping[str, str], alone: bool) -> Found:
    """Fill in what the layout left open from our own or kohya's safetensors metadata.

    The name there is that of the whole file, and so only that of an embedding ``alone`` in it.
    """

    def first(*keys: str) -> str | None:
        return next((metadata[key] for key in keys if metadata.get(key)), None)

    step = clean_step(first("step", "ss_steps"))
    return replace(
        found,
        inner_name=(clean_text(first("name", "ss_output_name")) if alone else None)
        or found.inner_name,
        step=found.step if found.step is not None else step,
        trained_on=found.trained_on or clean_text(first("trained_on", "ss_sd_model_name")),
        trained_on_hash=found.trained_on_hash
        or clean_text(first("trained_on_hash", "ss_new_sd_model_hash", "ss_sd_model_hash")),
        initializer=clean_text(first("initializer", "ss_init_word")),
    )


LAYOUTS: tuple[Callable[[Any], list[Found]], ...] = (
    _a1111,
    bundle,
    _kohya,
    _encoder_keys,
    _parts,
    _diffusers,
)
