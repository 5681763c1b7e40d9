"""What the loaded model is asked about pictures before they are learned, and for the verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui.studio.gpu import GpuGate
from webui.studio.training.checkpoints import Draw
from webui.training.crops import Crop, box_of, make_crops
from webui.training.dataset import (
    ENOUGH,
    Picture,
    ReadPicture,
    mask_place,
    pair_captions,
    read_pictures,
)
from webui.training.preflight import Finding
from webui.training.request import TrainingRequest

if TYPE_CHECKING:
    from webui.models.model import Model
    from webui.training.recipe import Recipe
    from webui.training.trials.drawable import Comparison, OwnPictures
    from webui.training.trials.latents import LatentCache
    from webui.training.trials.words import Trial


PAINTED = 768
"""Longest side of an image that a mask is painted on, in pixels."""


@dataclass(frozen=True, eq=False)
class ToPaint:
    """An image that a mask can be painted on."""

    name: str
    image: Image.Image
    """Scaled down to ``PAINTED`` pixels."""
    mask: Image.Image | None
    """As large; its own, or what the model finds where the request asks for that."""
    place: Path
    """The mask's file, which there need not be."""


class Trials:
    """Asks the model in use. Images that are asked for meanwhile are drawn between two batches.

    Its methods wait for the model; they raise AppError for bad pictures.
    """

    def __init__(
        self, gate: GpuGate, model: Callable[[], Model], draw: Draw, read: ReadPicture
    ) -> None:
        self._gate, self._model, self._draw, self._read = gate, model, draw, read
        self._lock = threading.Lock()
        self._kept_latents: LatentCache | None = None
        self._own_pictures: OwnPictures | None = None

    def drawable(self, recipe: Recipe, pictures: Sequence[Path]) -> list[Finding]:
        """Look whether the model can draw such pictures at all; draws a few of its own."""
        from webui.training.trials.drawable import drawable

        model = self._model()
        shown = read_pictures(pictures, self._read)
        return drawable(model, self.compare(model, lambda: False, recipe, shown))

    def compare(
        self,
        model: Model,
        given_up: Callable[[], bool],
        recipe: Recipe,
        pictures: Sequence[Picture],
        told: Callable[[int, int], None] = lambda done, total: None,
    ) -> Comparison | None:
        """Compare pictures with such as the model draws itself; None if that would take too long.

        ``told`` is told how many of how many looks are done. Raises Interrupted once ``given_up``,
        which is asked between and within its drawings.
        """
        from webui.training.trials.drawable import OwnPictures, compare

        with self._lock:
            own = self._own_pictures = self._own_pictures or OwnPictures()

        def hold(who: str) -> AbstractContextManager[None]:
            return self._gate.hold(who, given_up)

        def draw(prompts: Sequence[str]) -> list[Image.Image]:
            return self._draw(model, [(prompt, "") for prompt in prompts], None, 0, given_up)

        return compare(model, recipe, pictures, own, draw, hold, self._latents(), told)

    def suggest(
        self, recipe: Recipe, pictures: Sequence[Path], names: Sequence[str] = ("",)
    ) -> Iterator[Trial]:
        """Try words as initializers on pictures, a batch a time; the last answer has the best.

        Of several ``names`` one after another has its answers, from the pictures that show it.
        """
        from webui.training.trials.words import suggest

        shown, model = read_pictures(pictures, self._read, names), self._model()
        for number, name in enumerate(names):
            own = [picture for picture in shown if picture.concept == number]
            for trial in suggest(model, recipe, own, self._latents(), self._gate.hold):
                yield replace(trial, name=name)

    def what_counts(self, request: TrainingRequest) -> list[tuple[Image.Image, str]]:
        """Return the first images as they are cut, what hardly counts in them made grey, and their
        names."""
        from webui.training.setup import as_learned
        from webui.training.trials.where import shaded

        pictures = read_pictures(request.pictures, self._read, request.names)[:ENOUGH]
        recipe = request.recipe
        crops = [
            replace(self._masked(request, number, picture), picture=number)
            for number, picture in enumerate(pictures)
        ]
        return [
            (shaded(crop.image, crop.mask if recipe.use_mask else None), picture.path.name)
            for crop, picture in zip(as_learned(recipe, crops), pictures, strict=True)
        ]

    def to_paint(self, request: TrainingRequest, number: int) -> ToPaint:
        """Return the image of a number, counted from 0, with the mask that a run would use."""
        files, _ = pair_captions(request.pictures)
        path, _, mask_file = files[number]
        picture = read_pictures(request.pictures, self._read, request.names)[number]
        mask = picture.mask
        if mask is None and request.recipe.find_thing:
            found = self._masked(request, number, picture).mask
            shape = found.width / found.height if found else 1.0
            position = (*request.recipe.crop_positions[number : number + 1], -1.0)[0]
            left, top, right, bottom = map(round, box_of(picture, position, shape))
            mask = Image.new("L", picture.image.size)
            if found:
                mask.paste(found.resize((right - left, bottom - top)), (left, top))
        image = picture.image.copy()
        image.thumbnail((PAINTED, PAINTED))
        place = mask_place(path, mask_file)
        return ToPaint(path.name, image, mask and mask.resize(image.size), place)

    def _masked(self, request: TrainingRequest, number: int, picture: Picture) -> Crop:
        """Return the crop of a picture, with a mask of what the model finds if that is asked for
        and it has none."""
        from webui.training.setup import buckets_of, side_of
        from webui.training.trials.where import with_soft_mask

        model, latents, recipe = self._model(), self._latents(), request.recipe
        (crop,) = make_crops(
            [picture],
            side_of(recipe, model),
            positions=recipe.crop_positions[number : number + 1],
            buckets=buckets_of(recipe, model),
        )
        if not recipe.find_thing:
            return crop
        words = request.concepts[picture.concept].initializer
        with self._gate.hold("looking at images"):
            return with_soft_mask(model, recipe, crop, words, latents.moments(model, crop))

    def _latents(self) -> LatentCache:
        """Return what is kept of encoded pictures."""
        from webui.training.trials.latents import LatentCache

        with self._lock:
            self._kept_latents = self._kept_latents or LatentCache()
            return self._kept_latents
