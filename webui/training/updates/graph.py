"""A run's update as one compiled graph: captions, UNet, loss, the way back, and the optimizers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from webui.devices.compiling import Compiled, shadow_of
from webui.devices.copies import send, sent
from webui.libraries import Upsample2D
from webui.models.model import TextEncoder
from webui.prompting.encoding import ends_of, ids_of, side_by_side, size_ids, through_layers
from webui.training.denoising import Batch, prediction_errors, sent_batch, with_noise
from webui.training.learned.lora import applied_lora
from webui.training.setup import TrainingSetup
from webui.training.updates.optimizer import Optimizer, Rows
from webui.training.updates.update import Learned, update_as_it_is, updated

MOST_OFF = 0.1
"""By what share the first figures of what is compiled may be off; in half precision, where it
rounds less often, they are by one or two hundredths."""


class UpdateGraph:
    """Does a run's updates compiled, once that is ready; see ``Compiled``.

    All that differs from step to step is a tensor: which tokens and vectors stand where in the
    captions, noise, timesteps, what was learned so far, and the numbers of the optimizers. Each
    size of crops is compiled for itself. The UNet in it is a shadow of the run's, which goes on to
    compute as it is.
    """

    def __init__(
        self,
        setup: TrainingSetup,
        optimizers: Mapping[str, Optimizer],
        lora: Rows,
        like: Compiled,
    ) -> None:
        """``lora`` are the weights of the LoRA, if any; ``like`` compiles the run's model."""
        self._setup, self._optimizers = setup, optimizers
        unet = shadow_of(setup.model.unet)
        double_by_views(unet)
        if setup.recipe.gradient_checkpointing:
            unet.enable_gradient_checkpointing(_checkpoint)
            for module in unet.modules():  # diffusers looks at those; dropout stays out of it
                module.training = hasattr(module, "gradient_checkpointing")
        self._lora = dict(lora)
        applied_lora(unet, self._lora)
        self._lora.clear()  # as it is between updates, which the graph is compiled for
        self._model = replace(setup.model, unet=unet)
        self._compiled = Compiled(
            self._update, like.backend, like.changed, what="training step", learns=True
        )
        self._trusted: set[Hashable] = set()

    def __call__(
        self,
        learned: Learned,
        drawn: Sequence[tuple[Batch, Sequence[str]]],
        numbers: Mapping[str, Sequence[float]],
        scale: float,
    ) -> tuple[Learned, Tensor]:
        """Return ``updated``'s answer, compiled where that is ready for crops of these sizes."""
        found = self._attempt(learned, drawn, numbers, scale)
        sizes = tuple(batch.noise.shape for batch, _ in drawn)
        if found and sizes in self._trusted:
            return found
        expected = update_as_it_is(self._setup, self._optimizers, learned, drawn, numbers, scale)
        if found:
            self._compare(found[1], expected[1], sizes)
        return expected

    def _attempt(
        self,
        learned: Learned,
        drawn: Sequence[tuple[Batch, Sequence[str]]],
        numbers: Mapping[str, Sequence[float]],
        scale: float,
    ) -> tuple[Learned, Tensor] | None:
        if self._compiled.failed:
            return None
        batches = [self._sent(batch, lines) for batch, lines in drawn]
        plain = {**numbers, "scale": (scale,)}
        tensors = {kind: sent(each, self._model.device) for kind, each in plain.items()}
        found: tuple[Learned, Tensor] | None = self._compiled.attempt(learned, batches, tensors)
        return found

    def _compare(self, found: Tensor, expected: Tensor, sizes: Hashable) -> None:
        """Trust what is compiled for some sizes if its first figures are those of the same step
        as it is; give it up otherwise."""
        if torch.allclose(found, expected, rtol=MOST_OFF, equal_nan=True):
            self._trusted.add(sizes)
        else:
            figures = f"{found.tolist()} instead of {expected.tolist()}"
            self._compiled.give_up(f"it computes other figures: {figures}.")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for what is being compiled; returns whether any size of crops is ready."""
        return self._compiled.wait(timeout_s)

    def _sent(self, batch: Batch, lines: Sequence[str]) -> dict[str, Any]:
        """Return a batch and its captions as tensors on the device."""
        setup, model = self._setup, self._model
        count = len(setup.start[model.text_encoders[0].key])
        rows = {key: torch.arange(count)[:, None] for key in setup.start}
        chunks = setup.captions(lines, rows)  # with the numbers of the vectors in their places
        places = torch.full((len(chunks), len(chunks[0].token_ids)), -1)
        for number, chunk in enumerate(chunks):
            for slot in chunk.slots:
                [standing, *_] = slot.embedding.vectors.values()
                end = slot.position + len(standing)
                places[number, slot.position : end] = standing[:, 0]
        ends = {encoder.key: ends_of(encoder, chunks) for encoder in model.text_encoders}
        height, width = (side * model.latent_scale for side in batch.noise.shape[-2:])
        return {
            **sent_batch(setup.latents, batch, model.device),
            "ids": {encoder.key: ids_of(encoder, chunks) for encoder in model.text_encoders},
            "places": send(places, model.device),  # [b, 77]: the vector that stands there, or -1
            "ends": {key: each for key, each in ends.items() if each is not None},
            "sizes": size_ids(model, len(lines), height, width),
        }

    def _update(
        self,
        learned: Learned,
        batches: Sequence[Mapping[str, Any]],
        numbers: Mapping[str, Tensor],
    ) -> tuple[Learned, Tensor]:
        """What is compiled."""
        each = {kind: found.unbind() for kind, found in numbers.items()}
        (scale,) = each.pop("scale")
        return updated(self._setup, self._optimizers, learned, batches, self, each, scale)

    @contextmanager
    def learning(self, lora: Rows) -> Iterator[None]:
        self._lora.update(lora)
        try:
            yield
        finally:
            self._lora.clear()

    def of(self, batch: Mapping[str, Any], vectors: Rows) -> Tensor:
        setup, model = self._setup, self._model
        captions = side_by_side(
            [
                through_layers(
                    encoder,
                    _embedded(encoder, batch["ids"][encoder.key], batch["places"], vectors),
                    batch["ends"].get(encoder.key),
                )
                for encoder in model.text_encoders
            ]
        )
        sizes = None
        if captions.pooled is not None:
            pooled = captions.pooled.to(model.dtype)
            sizes = {"text_embeds": pooled, "time_ids": batch["sizes"]}
        alphas, gamma = setup.schedule.alphas_cumprod, setup.recipe.min_snr_gamma
        given = with_noise(model, alphas, batch, gamma)
        return prediction_errors(model, given, captions.hidden, sizes, setup.compute_dtype)


def double_by_views(unet: nn.Module) -> None:
    """Have a UNet double its images by views of them, whose way back is a sum.

    What inductor of PyTorch 2.13 makes for processors of the way back through ``interpolate``
    comes to zero behind a block of residual layers.
    """

    def doubled(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        image, *others = given  # [b, c, h, w]
        wide = image[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2)
        return wide.flatten(2, 3).flatten(3, 4), *others

    for module in unet.modules():
        if isinstance(module, Upsample2D) and module.interpolate:
            module.interpolate = False
            module.register_forward_pre_hook(doubled)


def _checkpoint(module: Callable[..., Any], *given: Any) -> Any:
    """Compute a module whose work is done again on the way back, but for the attention's own.

    A graph does again only what cannot be left to chance, and PyTorch's attention has dropout.
    """
    return checkpoint(module, *given, use_reentrant=False, context_fn=_contexts)


def _contexts() -> Any:
    return create_selective_checkpoint_contexts(_kept)  # type: ignore[no-untyped-call]


def _kept(_: Any, operation: Any, *given: Any, **named: Any) -> CheckpointPolicy:
    chance = torch.Tag.nondeterministic_seeded in operation.tags
    return CheckpointPolicy.MUST_SAVE if chance else CheckpointPolicy.MUST_RECOMPUTE


def _embedded(encoder: TextEncoder, ids: Tensor, places: Tensor, vectors: Rows) -> Tensor:
    """Return the embedded tokens ``[b, 77, width]``, with vectors where ``places`` has them."""
    words: Tensor = encoder.vocabulary(ids)
    ours = functional.embedding(places.clamp(min=0), vectors[encoder.key])
    return torch.where(places.unsqueeze(-1) < 0, words, ours.to(words))
