"""Where on the images the thing is: what of them the frozen model looks at for the initializer.

The cross-attention maps of a diffusion model show where it sees a word (DAAM, arXiv 2210.04885;
as masks of a training: Break-A-Scene, arXiv 2305.16311). No further model is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from webui.libraries import Attention
from webui.prompting.chunks import Words
from webui.prompting.encoding import encode, size_conditioning
from webui.training.captions import OBJECT_TEMPLATES, initializer_tokens, lay_out_caption
from webui.training.denoising import encode_crop, freeze, generator_for, schedule_of
from webui.training.stages import NAME

if TYPE_CHECKING:
    from webui.models.model import Model
    from webui.training.crops import Crop
    from webui.training.recipe import Recipe
    from webui.training.trials.latents import Moments

NOISES = (0.2, 0.4, 0.6)
"""Parts of the schedule at which the model looks at an image."""
COARSE, FINE = 1 / 4, 1 / 2
"""Sides of the maps that tell shapes, as parts of the latent's; smaller ones tell only about where
it is, and larger ones look at textures."""
LOW, HIGH = 0.05, 0.95
"""Shares of the places that are taken as not the thing at all, and as wholly it."""
SLOPE = 12
"""How sharply the thing is told from the rest, half-way between the two."""
LEAST = 0.05
"""What the rest still counts where nothing takes its place, since a map can be wrong."""


@torch.no_grad()
def soft_mask(model: Model, crop: Crop, moments: Moments, words: str) -> Image.Image:
    """Return a mask of a crop, as large as it: 255 where the words are seen; the same each time.

    Whoever asks holds the device. Raises BadField for words without tokens.
    """
    freeze(model)
    mean, _ = moments  # [4, h, w]
    height, width = mean.shape[-2:]
    tokenizer, schedule = model.tokenizer, schedule_of(model)
    ids, line = initializer_tokens(tokenizer, words), OBJECT_TEMPLATES[0]
    first = lay_out_caption(tokenizer, line.partition(NAME)[0], Words(())).end
    captions = encode(model, [lay_out_caption(tokenizer, line, Words(ids))])
    sizes = size_conditioning(
        model, captions.pooled, height * model.latent_scale, width * model.latent_scale
    )
    maps: list[Tensor] = []
    with _looking(model.unet, slice(first, first + len(ids)), (height, width), maps):
        for part in NOISES:
            timestep = torch.tensor([int(part * schedule.config["num_train_timesteps"])])
            noise = torch.randn(mean.shape, generator=generator_for("where", part)).to(mean)
            timestep = timestep.to(mean.device)
            noisy = schedule.add_noise(mean[None], noise[None], timestep)  # type: ignore[arg-type]
            hidden = captions.hidden.to(model.dtype)
            model.unet(noisy.to(model.dtype), timestep, hidden, added_cond_kwargs=sizes)
    found = torch.stack(maps).mean(dim=0)  # [h, w]
    low, high = found.quantile(LOW), found.quantile(HIGH)
    share = ((found - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
    values = (255 * (SLOPE * (share - 0.5)).sigmoid()).round().to("cpu", torch.uint8).numpy()
    return Image.fromarray(values).resize(crop.image.size, Image.Resampling.BILINEAR)


@contextmanager
def _looking(
    unet: nn.Module, words: slice, size: tuple[int, int], maps: list[Tensor]
) -> Iterator[None]:
    """Collect how much of each place's attention goes to some of the words, ``[h, w]`` each.

    A map is scaled to ``size`` and to a mean of 1. Those of the usual sides are taken, and all
    where there are none.
    """
    others: list[Tensor] = []

    def look(attention: Any, given: tuple[Tensor, ...], named: dict[str, Any], _: Any) -> None:
        if (states := named.get("encoder_hidden_states")) is None:
            return
        query, key = (
            each.unflatten(-1, (attention.heads, -1)).transpose(1, 2).float()
            for each in (attention.to_q(given[0]), attention.to_k(states))
        )  # [1, heads, places or 77, width]
        shares = (query @ key.transpose(-1, -2) * attention.scale).softmax(dim=-1)
        seen = shares[..., words].sum(dim=-1).mean(dim=1)  # [1, places]
        part = (seen.shape[-1] / (size[0] * size[1])) ** 0.5
        small = seen.view(1, 1, round(size[0] * part), -1)
        found = functional.interpolate(small, size=size, mode="bilinear")[0, 0]
        (maps if COARSE <= part <= FINE else others).append(found / found.mean())

    with ExitStack() as hooks:
        for module in unet.modules():
            if isinstance(module, Attention):
                handle = module.register_forward_hook(look, with_kwargs=True)
                hooks.callback(handle.remove)
        yield
    if not maps:
        maps += others


def with_soft_mask(
    model: Model, recipe: Recipe, crop: Crop, words: str, moments: Moments | None = None
) -> Crop:
    """Return a crop with a soft mask of its ``words``, if the recipe asks for one and it has none.

    ``moments`` are the crop's, where they are known.
    """
    if not (recipe.find_thing and recipe.use_mask) or crop.mask is not None:
        return crop
    mask = soft_mask(model, crop, moments or encode_crop(model, crop), words)
    least = 0 if recipe.background == "plain" else round(255 * LEAST)
    return replace(crop, mask=mask.point([max(least, value) for value in range(256)]))


def shaded(image: Image.Image, mask: Image.Image | None) -> Image.Image:
    """Return an image with what its mask leaves out grey and faint."""
    if mask is None:
        return image
    faint = Image.blend(
        image.convert("L").convert("RGB"), Image.new("RGB", image.size, "gray"), 0.7
    )
    return Image.composite(image, faint, mask)
