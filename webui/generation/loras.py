"""LoRAs called by a prompt: put into the model for one request and taken out again."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.devices.compiling import shadow_of
from webui.errors import UnreadableFile
from webui.models.weights_file import open_weights
from webui.prompting.loras import LoraCall, missing_lora

if TYPE_CHECKING:
    from webui.libraries import UNet2DConditionModel
    from webui.models.model import Model

_NAME = re.compile(r"[\w./-]{1,300}")
"""How tensors of a LoRA are called; libraries make patterns of the names."""
BUNDLED = "bundle_emb."
"""Begins the name of each tensor of an embedding inside a LoRA, as in AUTOMATIC1111."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AppliedLoras:
    """What of the LoRA calls came to be."""

    in_text_encoders: tuple[tuple[str, float], ...] = ()
    """File and strength of each that changes the text encoders; part of a conditioning's key."""
    warnings: tuple[str, ...] = ()
    """Sentences about calls that could not be fulfilled."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The files that are in the model, by the names that the calls have for them."""


@contextmanager
def switching(
    model: Model, files: Mapping[str, Path]
) -> Iterator[Callable[[Sequence[LoraCall]], AppliedLoras]]:
    """Yield what puts the LoRAs of some calls into the model, in the place of those before.

    Calls that are in it already stay as they are. At the end the weights are as they were.
    """
    with ExitStack() as inside:
        now: tuple[Sequence[LoraCall], AppliedLoras] | None = None

        def put(calls: Sequence[LoraCall]) -> AppliedLoras:
            nonlocal now
            if now is None or now[0] != calls:
                inside.close()
                now = calls, inside.enter_context(applied(model, calls, files))
            return now[1]

        yield put


@contextmanager
def applied(
    model: Model, calls: Sequence[LoraCall], files: Mapping[str, Path]
) -> Iterator[AppliedLoras]:
    """Put the LoRAs into the model inside the ``with`` block; the weights are as before after it.

    ``files`` are those that can be called, as ``list_loras`` returns them.
    A LoRA that is missing, broken or made for another family is a warning, not a failure.
    """
    if not calls:
        yield AppliedLoras()
        return
    unet = model.unet if model.compiled is None else shadow_of(model.unet)
    pipe = _pipeline(model, unet)
    warnings, chosen = [], {}
    try:
        for number, call in enumerate(calls):
            path = files.get(call.name.casefold())
            if path is None:
                warnings.append(missing_lora(call.name, files))
                continue
            adapter = f"lora_{number}"
            if problem := _load(pipe, path, adapter):
                warnings.append(problem)
            else:
                chosen[adapter] = (call, path)
        in_text = _set_strengths(pipe, chosen)
        put = {call.name: path for call, path in chosen.values()}
        with nullcontext() if unet is model.unet else _merged(unet):
            yield AppliedLoras(in_text, tuple(warnings), put)
    finally:
        pipe.unload_lora_weights()


@contextmanager
def _merged(shadow: UNet2DConditionModel) -> Iterator[None]:
    """Add the LoRAs of a shadow to the weights, in place; afterwards they are as before.

    What has been compiled reads the weights where they were when it was compiled.
    """
    from webui.lora_pipelines import BaseTunerLayer

    layers = [layer for layer in shadow.modules() if isinstance(layer, BaseTunerLayer)]
    changed = [each for layer in layers for each in layer.get_base_layer().parameters()]
    before = [(each, each.data, each.data.to("cpu", copy=True)) for each in changed]
    try:
        for layer in layers:
            layer.merge()
        for each, place, _ in before:
            place.copy_(each.data)
            each.data = place
        yield
    finally:
        for each, place, content in before:
            place.copy_(content)
            each.data = place


def _pipeline(model: Model, unet: UNet2DConditionModel) -> Any:
    """Wrap the model's parts in diffusers' pipeline, which knows the LoRA layouts."""
    from webui.lora_pipelines import (
        DDIMScheduler,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
    )

    scheduler = DDIMScheduler()
    encoders = [encoder.model for encoder in model.text_encoders]
    if model.family == "sdxl":
        return StableDiffusionXLPipeline(
            vae=model.vae,
            text_encoder=encoders[0],
            text_encoder_2=encoders[1],
            tokenizer=model.tokenizer,
            tokenizer_2=model.tokenizer,
            unet=unet,
            scheduler=scheduler,
            add_watermarker=False,
        )
    return StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=encoders[0],
        tokenizer=model.tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _load(pipe: Any, path: Path, adapter: str) -> str | None:
    """Load one file as an adapter; returns why it could not be, or None.

    Only the tensors go on to the library, never the settings in the file's metadata, nor the
    embeddings that it brings along, with which the library would refuse it.
    """
    try:
        with open_weights(path) as weights:
            names = [name for name in weights.entries if not name.startswith(BUNDLED)]
            if not all(_NAME.fullmatch(name) for name in names):
                raise UnreadableFile("Its tensors have names that no LoRA has.")
            tensors = {name: weights.read(name) for name in names}
        pipe.load_lora_weights(tensors, adapter_name=adapter)
    except Exception as error:  # the libraries raise all sorts for files of another layout
        log.warning("The LoRA %s could not be loaded: %s", path.name, error)
        return (
            f"The LoRA “{path.stem}” was left out: it does not fit this model or is damaged. "
            "The log says more."
        )
    if not any(adapter in names for names in pipe.get_list_adapters().values()):
        return f"The LoRA “{path.stem}” was left out: it changes nothing of this model."
    return None


def _set_strengths(
    pipe: Any, chosen: dict[str, tuple[LoraCall, Path]]
) -> tuple[tuple[str, float], ...]:
    """Give each adapter its strengths; returns those that act on the text encoders."""
    if not chosen:
        return ()
    parts = pipe.get_list_adapters()
    strengths, in_text = [], []
    for adapter, (call, path) in chosen.items():
        strength = {
            part: call.unet if part == "unet" else call.text_encoder
            for part, names in parts.items()
            if adapter in names
        }
        strengths.append(strength)
        if any(part != "unet" for part in strength):
            in_text.append((f"{path}:{path.stat().st_mtime_ns}", call.text_encoder))
    pipe.set_adapters(list(chosen), strengths)
    return tuple(in_text)
