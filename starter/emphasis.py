"""Lessons in prompt weights: an object is as vivid as the weight of its colour word says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from starter.captions import UNSAID, caption
from starter.drawing import draw
from starter.pictures import scene_at
from starter.text import token_ids
from starter.vae import encode_all
from starter.world import Scene

_DULL = "gray"
"""What a colour pales to."""
_LEAST, _MOST = 0.4, 1.5  # prompt weights that are taught


@dataclass(frozen=True)
class WeightLessons:
    """Pictures whose object has one colour, each with a twin in which the object is gray.

    A colour word of weight w stands for a latent w of the way from the twin to the picture, so a
    weight above one goes beyond it.
    """

    rows: Tensor
    """Places in the training set, int64 [n]."""
    dull: Tensor
    """Means of the twins' latents, float16 [n, 4, 32, 32]."""
    ids: Tensor
    """Captions that name the colour, int32 [n, 77]."""
    named: Tensor
    """Where they do, bool [n, 77]."""

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Return which lessons to take, int64 ``[count]``, and with what weights, float32
        ``[count]``."""
        weights = rng.uniform(_LEAST, _MOST, count).astype(np.float32)
        return torch.from_numpy(rng.integers(len(self.rows), size=count)), torch.from_numpy(weights)


def _may_pale(scene: Scene) -> bool:
    """Return whether the scene is one plain object that would still be seen if it were gray."""
    thing, ground = scene.things[0], scene.ground
    grays = (thing.colour, ground.colour, ground.second)
    return (
        len(scene.things) == 1
        and thing.fill == "plain"
        and scene.style != "neon"
        and not scene.hazy
        and _DULL not in grays
    )


def _twin(seed: int, index: int, scene: Scene) -> np.ndarray:
    """Return the picture of the scene with a gray object, all else being equal: uint8 ``[256,
    256, 3]``."""
    dull = replace(scene, things=(replace(scene.things[0], colour=_DULL),))
    return np.asarray(draw(dull, np.random.default_rng((seed, index, 1))))


def weight_lessons(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, seed: int, pictures: int, count: int,
    device: str = "cpu",
) -> WeightLessons:  # fmt: skip
    """Return up to ``count`` lessons about the first ``pictures`` pictures of the training set."""
    rows, twins, texts, words = [], [], [], []
    for index in range(pictures):
        scene = scene_at(seed, index)
        said = caption(scene, np.random.default_rng((seed, index, 3)))
        colour = said.said["colour"]
        if colour == UNSAID or colour not in said.text.split() or not _may_pale(scene):
            continue
        rows.append(index)
        twins.append(_twin(seed, index, scene))
        texts.append(said.text)
        words.append(colour)
        if len(rows) == count:
            break
    ids = token_ids(tokenizer, texts)
    word_ids = token_ids(tokenizer, words)[:, 1:2]  # every colour is one token
    dull = encode_all(vae, np.stack(twins), device)[:, :4]
    return WeightLessons(torch.tensor(rows), dull, ids.int(), ids == word_ids)
