"""Everything a run computes with, prepared once: model, latents, captions, starting vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from webui.devices.low_precision import low_precision_copy
from webui.devices.processor import has_bf16_instructions
from webui.embeddings.embedding import Embedding
from webui.errors import BadField
from webui.models.families import FAMILIES
from webui.models.model import Model
from webui.prompting.chunks import Chunk, Insert, Words
from webui.prompting.encoding import encode
from webui.training.captions import (
    caption,
    initializer_tokens,
    lay_out_caption,
    prompt_of,
    vector_count,
)
from webui.training.crops import Crop, Size, before_plain, bucket_sizes, make_crops
from webui.training.dataset import Picture, held_out
from webui.training.denoising import Guide, Latents, freeze, gather_latents, schedule_of
from webui.training.learned.concepts import Placeholder, concepts_of
from webui.training.learned.lora import Lora, new_lora
from webui.training.recipe import Recipe

if TYPE_CHECKING:
    from webui.libraries import DDPMScheduler


@dataclass(frozen=True, eq=False)
class TrainingSetup:
    """What is trained on what; nothing in it changes during the run."""

    model: Model
    """On a processor that computes in half precision its UNet is a copy."""
    recipe: Recipe
    placeholders: tuple[Placeholder, ...]
    """The names that are learned, each with its own of the vectors."""
    pictures: tuple[Picture, ...]
    latents: Latents
    schedule: DDPMScheduler
    training_crops: tuple[int, ...]
    """Indices of the latents that are trained on; the others are those of held-out pictures."""
    crops_per_picture: int
    norms: Mapping[str, float]
    """Mean norm of the vocabulary's vectors per text encoder."""
    start: Mapping[str, Tensor]
    """Vectors before the first step, ``[n, width]`` float32 per text encoder; those of one name
    after those of another."""
    lora: Lora
    """Weights of the LoRA before the first step; none where the recipe has none."""
    compute_dtype: torch.dtype | None
    """Precision that a GPU computes a float32 UNet in (autocast); None = its own."""

    @property
    def scaled(self) -> bool:
        """Whether gradients pass through float16, in which small ones would be lost."""
        return torch.float16 in (self.compute_dtype, self.model.dtype)

    def buckets(self) -> tuple[tuple[int, ...], ...]:
        """Return the training crops by the size of their latents; a batch is of one of them."""
        found: dict[tuple[int, int], list[int]] = {}
        for crop in self.training_crops:
            found.setdefault(self.latents.size(crop), []).append(crop)
        return tuple(map(tuple, found.values()))

    @property
    def initializers(self) -> tuple[tuple[int, ...], ...]:
        """The token ids of each name's initializer."""
        return tuple(each.initializer_ids for each in self.placeholders)

    def by_name(self, vectors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return a run's vectors by the names that they belong to."""
        return {each.name: each.rows(vectors) for each in self.placeholders}

    def concept_of(self, crop: int) -> int:
        """Return which name a crop shows, counted from 0."""
        return self.pictures[self.latents.pictures[crop]].concept

    def by_turns(self, crops: Sequence[int]) -> list[int]:
        """Return crops so ordered that those of each name are spread evenly over all of them."""
        seen: Counter[int] = Counter()
        totals = Counter(self.concept_of(crop) for crop in crops)
        places = {}
        for crop in crops:
            concept = self.concept_of(crop)
            places[crop] = (seen[concept] + 0.5) / totals[concept]
            seen[concept] += 1
        return sorted(crops, key=lambda crop: places[crop])

    def line(self, picture: int, draw: float, at: float = 1.0) -> str:
        """Return a caption for a picture, with marks in the places of names.

        ``draw`` in [0, 1) chooses it, of those for the part ``at`` of the run, 0 to 1.
        """
        return caption(self.recipe, self.pictures[picture], self.placeholders, draw, at)

    def captions(
        self, lines: Sequence[str], names: Mapping[str, Tensor] | Sequence[Sequence[int]]
    ) -> list[Chunk]:
        """Lay captions out with a run's vectors (``[n, width]`` per text encoder) in the places of
        names, or with token ids for each."""
        if isinstance(names, Mapping):
            items: list[Insert | Words] = [
                Insert(Embedding(each.name, each.rows(names))) for each in self.placeholders
            ]
        else:
            items = [Words(tuple(ids)) for ids in names]
        return [lay_out_caption(self.model.tokenizer, line, *items) for line in lines]

    @torch.no_grad()
    def guide(self, crops: Sequence[int]) -> Guide | None:
        """Return what predictions on crops are guided to, where guidance is in the loop: the
        prompts that say what is on them."""
        if not self.recipe.guided:
            return None
        pictures = (self.pictures[self.latents.pictures[crop]] for crop in crops)
        chunks = [
            lay_out_caption(self.model.tokenizer, prompt_of(self.recipe, picture))
            for picture in pictures
        ]
        return Guide(encode(self.model, chunks), self.recipe.guidance_scale)


def side_of(recipe: Recipe, model: Model) -> int:
    """Return the side in pixels that pictures are trained at; BadField if it does not fit."""
    step = _step(model)
    usual = int(model.defaults.get("width") or FAMILIES[model.family].size)
    side = recipe.resolution or usual
    if side % step:
        raise BadField("resolution", f"The resolution {side} is not a multiple of {step} pixels.")
    return side


def _step(model: Model) -> int:
    """Return the pixels that sides must be a multiple of, so that the UNet can halve them."""
    return model.latent_scale << (len(model.unet.config["block_out_channels"]) - 1)


def buckets_of(recipe: Recipe, model: Model) -> tuple[Size, ...]:
    """Return the sizes that pictures may be cut to; none if they are cut to squares."""
    return bucket_sizes(side_of(recipe, model), _step(model)) if recipe.buckets else ()


def cut_crops(recipe: Recipe, model: Model, pictures: Sequence[Picture]) -> list[Crop]:
    """Make the crops a recipe asks for, those of one picture after another."""
    return make_crops(
        pictures,
        side_of(recipe, model),
        recipe.crops,
        recipe.flip,
        recipe.seed,
        recipe.crop_positions,
        buckets_of(recipe, model),
    )


def as_learned(recipe: Recipe, cut: Sequence[Crop]) -> list[Crop]:
    """Return crops as a recipe has them learned: some before plain backgrounds."""
    plain = recipe.use_mask and recipe.background == "plain"
    return before_plain(cut) if plain else list(cut)


def prepare_setup(
    model: Model,
    recipe: Recipe,
    name: str,
    initializer: str,
    pictures: Sequence[Picture],
    cut: Sequence[Crop],
    moments: Sequence[tuple[Tensor, Tensor]],
    start: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> TrainingSetup:
    """Put together a setup from the crops and the moments that the VAE made of them.

    ``name`` and ``initializer`` as for ``concepts_of``; ``start`` are vectors to begin with in
    place of the initializers', by name.
    """
    freeze(model)
    unseen = held_out(pictures) if recipe.hold_out else set()
    norms = {encoder.key: vocabulary_norm(model, encoder.key) for encoder in model.text_encoders}
    hold_norm = recipe.optimizer == "directional"
    placeholders: list[Placeholder] = []
    vectors: list[Mapping[str, Tensor]] = []
    first = 0
    for concept in concepts_of(name, initializer):
        ids = initializer_tokens(model.tokenizer, concept.initializer)
        vectors.append(
            start[concept.name]
            if start
            else words_as_vectors(model, ids, vector_count(recipe, ids))
        )
        count = len(next(iter(vectors[-1].values())))
        placeholders.append(Placeholder(concept.name, concept.initializer, ids, first, count))
        first += count
    together = {key: torch.cat([each[key] for each in vectors]) for key in model.widths}
    dtype = compute_dtype_of(recipe, model)
    if model.device.type == "cpu" and (low := dtype or model.dtype) != torch.float32:
        model, dtype = replace(model, unet=low_precision_copy(model.unet, low), dtype=low), None
    lora = (
        new_lora(model.unet, recipe.lora_rank, recipe.lora_layers, recipe.seed, model.device)
        if recipe.lora_rank
        else {}
    )
    setup = TrainingSetup(
        model=model,
        recipe=recipe,
        placeholders=tuple(placeholders),
        pictures=tuple(pictures),
        latents=gather_latents(cut, moments, recipe.use_mask),
        schedule=schedule_of(model),
        training_crops=tuple(i for i, item in enumerate(cut) if item.picture not in unseen),
        crops_per_picture=len(cut) // len(pictures),
        norms=norms,
        start=starting_vectors(model, together, norms, hold_norm),
        lora=lora,
        compute_dtype=dtype,
    )
    for index in range(len(pictures)):
        setup.line(index, 0.0)  # a caption without the name is an error now, not at some step
    return setup


@torch.no_grad()
def words_as_vectors(model: Model, ids: Sequence[int], count: int) -> dict[str, Tensor]:
    """Return ``count`` vectors ``[n, width]`` float32 per text encoder: the initializer's tokens,
    from the first again when they are fewer."""
    chosen = [ids[row % len(ids)] for row in range(count)]
    tables = {encoder.key: encoder.vocabulary.weight for encoder in model.text_encoders}
    return {
        key: table[torch.tensor(chosen, device=table.device)].detach().float()
        for key, table in tables.items()
    }


@torch.no_grad()
def starting_vectors(
    model: Model, vectors: Mapping[str, Tensor], norms: Mapping[str, float], hold_norm: bool
) -> dict[str, Tensor]:
    """Return vectors as a run starts from them: float32 on the device, and with ``hold_norm``
    scaled to the vocabulary's mean norm."""
    start = {}
    for key in model.widths:
        rows = vectors[key].detach().to(model.device, torch.float32, copy=True)  # [n, width]
        if hold_norm:
            rows *= norms[key] / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        start[key] = rows
    return start


@torch.no_grad()
def vocabulary_norm(model: Model, key: str) -> float:
    """Return the mean norm of the vocabulary's vectors, those of BOS and EOS left out."""
    encoder = next(item for item in model.text_encoders if item.key == key)
    norms = encoder.vocabulary.weight.detach().float().norm(dim=-1)
    kept = torch.ones_like(norms, dtype=torch.bool)
    kept[[model.tokenizer.bos_token_id, model.tokenizer.eos_token_id]] = False
    return float(norms[kept].mean())


def compute_dtype_of(recipe: Recipe, model: Model) -> torch.dtype | None:
    """Return in what a float32 UNet computes: as asked, or bf16 where the device is made for it."""
    if model.dtype != torch.float32:
        return None
    if recipe.mixed_precision != "auto":
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(recipe.mixed_precision)
    return torch.bfloat16 if _made_for_bf16(model.device) else None


def _made_for_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and has_bf16_instructions()


def precision_advice(recipe: Recipe, model: Model) -> str | None:
    """Warn where a recipe asks for a precision that the loaded model does not have."""
    loaded = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(model.dtype)
    if loaded is None or recipe.mixed_precision in ("auto", loaded):
        return None
    return (
        f"{model.name} is loaded in {loaded} and computes in it. For {recipe.mixed_precision} "
        f"start with --precision {recipe.mixed_precision}."
    )
