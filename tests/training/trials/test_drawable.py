"""A model is asked whether it can draw such pictures, before anything is learned from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.picture_parts import scene
from webui.models.model import Model
from webui.settings import Settings
from webui.training.dataset import read_pictures
from webui.training.recipe import Recipe
from webui.training.trials import drawable as drawable_module
from webui.training.trials.drawable import OwnPictures, Strangeness, compare, drawable
from webui.training.trials.latents import LatentCache


def like_a_photograph(seed: int, side: int = 160) -> Image.Image:
    """A picture with the spectrum of photographs: the finer, the fainter, in natural colours."""
    draw = np.random.default_rng(seed)
    across = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    common, channels = draw.normal(size=(side, side)), []
    for _ in range(3):
        noise = 0.8 * common + 0.4 * draw.normal(size=(side, side))
        waves = np.fft.ifft2(np.fft.fft2(noise) / np.maximum(across, 1 / side)).real
        channels.append((waves - waves.mean()) / waves.std() * 50 + 128)
    return Image.fromarray(np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8))


def test_a_model_is_compared_with_what_it_draws_which_is_done_once(
    picture_files: Callable, model: Model, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def draw(prompts: Sequence[str]) -> list[Image.Image]:
        asked.extend(prompts)
        return [scene(number, 32) for number, _ in enumerate(prompts)]

    pictures, own, latents = read_pictures(picture_files(3)), OwnPictures(), LatentCache()
    told: list[tuple[int, int]] = []

    def look() -> list[str]:
        told.clear()
        beside = compare(
            model, Recipe(), pictures, own, draw, lambda who: nullcontext(), latents,
            lambda done, total: told.append((done, total)),
        )  # fmt: skip
        found = drawable(model, beside)
        assert not any(finding.stops for finding in found)
        return [finding.message for finding in found]

    assert look() == [], "a model without any skill finds nothing strange"
    assert told == [(done, 7) for done in range(8)]
    assert len(asked) == 2
    own._known[model.unet] = Strangeness(0.001, 0.01), 0.4
    (said,) = look()
    assert "tiny cannot draw such images" in said and "Get a model" in said
    assert len(asked) == 2 and told == [(done, 3) for done in range(4)], "it is measured once"
    monkeypatch.setattr(drawable_module, "MOST_WEIGHTS_ON_PROCESSORS", 10)
    assert look() == [], "a large model is not asked on a processor"


@pytest.mark.slow
def test_the_starter_model_draws_its_own_world_and_no_photographs(tmp_path: Path):
    from starter.concepts import CONCEPTS, training_pictures
    from webui.studio.studio import Studio

    usual = Settings(embeddings_dirs=(tmp_path / "e",), outputs_dir=tmp_path / "o")
    studio = Studio(replace(usual, device="cpu"))
    studio.models.switch(None)

    def said(name: str, images: Sequence[Image.Image]) -> str:
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            image.save(tmp_path / name / f"{number}.png")
        paths = sorted((tmp_path / name).iterdir())
        return " ".join(found.message for found in studio.training.trials.drawable(Recipe(), paths))

    for concept in CONCEPTS:
        assert said(concept.name, [image for image, _ in training_pictures(concept)]) == ""
    assert "cannot draw such images" in said("photos", [like_a_photograph(n) for n in range(3)])
    studio.close()
