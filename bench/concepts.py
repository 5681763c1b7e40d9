"""Do embeddings trained on five pictures show their concept? `python bench/concepts.py`.

Trains the starter model's held-back concepts with presets, draws pictures for the name, and lets
the reader say what is in them: for objects whether shape, fill and both colours are right
("concept"), and whether a background that the prompt asks for is there ("background"); for styles
how near the colours are to the style's and whether the shape asked for is there; for the fault how
often the critic prefers the picture with its embedding in the negative prompt to that without it
("better"), and whether shape and colour are those asked for ("followed").
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch import Tensor  # noqa: E402

from bench.concept_task import (  # noqa: E402
    good_images,
    images_on_clutter,
    objects_by_lot,
    task_on,
    texts_of,
)
from starter.concepts import CONCEPTS, Concept, training_pictures  # noqa: E402
from starter.critic import better_share, load_critic  # noqa: E402
from starter.reader import load_reader, read  # noqa: E402
from starter.shipping import load_pipeline  # noqa: E402
from starter.world import SIDE, Thing  # noqa: E402
from webui.embeddings.embedding import Embedding  # noqa: E402
from webui.models.catalog import Checkpoint  # noqa: E402
from webui.models.loader import load  # noqa: E402
from webui.models.model import Model  # noqa: E402
from webui.prompting.chunks import Insert, Words  # noqa: E402
from webui.prompting.encoding import encode  # noqa: E402
from webui.prompting.tokens import tokens_of  # noqa: E402
from webui.training.captions import lay_out_caption  # noqa: E402
from webui.training.evaluation import (  # noqa: E402
    baseline_of,
    editability,
    prepare_eval_set,
    score,
)
from webui.training.presets import preset  # noqa: E402
from webui.training.recipe import Recipe  # noqa: E402
from webui.training.trainer import begin, train  # noqa: E402

GROUNDS = ("red", "yellow", "green", "blue", "purple", "black", "white", "gray")
GOOD_IMAGES = 48
"""That a negative is learned from with guidance in the loop."""
SHAPES = ("star", "heart", "house", "fish", "circle", "flower", "moon", "arrow")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, default=ROOT / "models" / "starter")
    add("--concepts", nargs="*", default=[concept.name for concept in CONCEPTS])
    add("--lot", type=int, metavar="SEED", help="ten objects made from this seed instead")
    add("--clutter", action="store_true", help="train objects on images with much behind them")
    add("--residual", action="store_true", help="a further name for what each image has of its own")
    add("--presets", nargs="*", default=["object", "classic"])
    add("--seeds", type=int, default=2)
    add("--pictures", type=int, default=16, help="drawn for each prompt kind")
    add("--change", nargs="*", default=[], help="settings of the recipe, as learning_rate=0.08")
    add("--threads", type=int, default=2)
    add("--sheets", type=Path, help="write contact sheets into this folder")
    add("--json", type=Path, help="write the figures here")
    return parser.parse_args()


def recipe_of(key: str, concept: Concept, seed: int, changes: Sequence[str]) -> Recipe:
    """The preset's recipe for a concept of this kind."""
    kind = {"object": "object", "style": "style", "fault": "negative"}[concept.kind]
    if key == "object" and kind != "object":
        key = kind
    recipe = replace(preset(key, "starter"), kind=kind, seed=seed)
    given = dict(change.split("=", 1) for change in changes)
    return replace(recipe, **given)


@torch.no_grad()
def states_of(model: Model, lines: Sequence[str], vectors: Mapping[str, Tensor]) -> Tensor:
    """Text states [n, 77, width] of lines with ``[name]``."""
    name = Insert(Embedding("", vectors))
    return encode(model, [lay_out_caption(model.tokenizer, line, name) for line in lines]).hidden


@torch.no_grad()
def states_of_words(model: Model, lines: Sequence[str], words: str = "") -> Tensor:
    """Text states [n, 77, width] of lines with words in the place of ``[name]``."""
    name = Words(tokens_of(model.tokenizer).of(words))
    return encode(model, [lay_out_caption(model.tokenizer, line, name) for line in lines]).hidden


@torch.no_grad()
def draw(pipeline: Any, states: Tensor, unsaid: Tensor, seed: int) -> np.ndarray:
    """A picture for each text state, uint8 [n, 256, 256, 3]; ``unsaid`` is the negative's."""
    parts = []
    for start in range(0, len(states), 16):
        some = states[start : start + 16]
        noise = [
            torch.Generator().manual_seed(seed * 1000 + start + place) for place in range(len(some))
        ]
        drawn = pipeline(
            prompt_embeds=some,
            negative_prompt_embeds=unsaid.expand(len(some), -1, -1),
            num_inference_steps=20,
            guidance_scale=4.0,
            generator=noise,
            height=SIDE,
            width=SIDE,
            output_type="np",
        )
        parts.append((drawn.images * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def sheet(pictures: np.ndarray) -> Image.Image:
    """Pictures in rows of eight."""
    cell = SIDE + 2
    whole = Image.new("RGB", (8 * cell, -(-len(pictures) // 8) * cell), "white")
    for number, picture in enumerate(pictures):
        whole.paste(Image.fromarray(picture), (number % 8 * cell + 1, number // 8 * cell + 1))
    return whole


def residual(name: str, count: int) -> tuple[str, list[str]]:
    """Return names of which each image has one to itself beside the first, and the images' texts
    that call them (ConceptPrism's residual tokens)."""
    numbers = range(2, count + 2)
    names = [name, *(f"{name}-image-{number}" for number in numbers)]
    return ", ".join(names), [f"[name {number}]" for number in numbers]


class Judge:
    """Draws pictures of a concept with given vectors and measures them."""

    def __init__(self, model: Model, pipeline: Any, count: int) -> None:
        self.model, self.pipeline, self.count = model, pipeline, count
        self.reader, self.critic = load_reader(), load_critic()
        self.empty = states_of_words(model, [""])

    def look(
        self, concept: Concept, vectors: Mapping[str, Tensor] | None, seed: int
    ) -> tuple[dict[str, float], np.ndarray]:
        """Measure vectors, or with None the initializer's words."""
        measure = {"object": self._object, "style": self._style, "fault": self._fault}
        return measure[concept.kind](concept, vectors, seed)

    def draw(self, lines: Sequence[str], concept: Concept, vectors: Any, seed: int) -> np.ndarray:
        """Pictures of lines with ``[name]``, or with None for vectors of the initializer."""
        states = (
            states_of_words(self.model, lines, concept.initializer)
            if vectors is None
            else states_of(self.model, lines, vectors)
        )
        return draw(self.pipeline, states, self.empty, seed)

    def _object(
        self, concept: Concept, vectors: Any, seed: int
    ) -> tuple[dict[str, float], np.ndarray]:
        thing = concept.thing
        plain = self.draw(["a photo of a [name]"] * self.count, concept, vectors, seed)
        found = shares(thing, read(self.reader, plain))
        goal = np.stack([np.asarray(image) for image, _ in training_pictures(concept)])
        found["pale"] = float((contrast(plain) < contrast(goal).mean() / 2).mean())
        free = [colour for colour in GROUNDS if colour not in (thing.colour, thing.accent)]
        colours = [free[number % len(free)] for number in range(self.count)]
        lines = [f"[name] on a {colour} background" for colour in colours]
        grounded = self.draw(lines, concept, vectors, seed + 1)
        again = read(self.reader, grounded)
        found["background"] = statistics.mean(
            one["ground colour"] == colour for one, colour in zip(again, colours, strict=True)
        )
        found["concept there"] = shares(thing, again)["concept"]
        return found, np.concatenate([plain, grounded])

    def _style(
        self, concept: Concept, vectors: Any, seed: int
    ) -> tuple[dict[str, float], np.ndarray]:
        shapes = [SHAPES[number % len(SHAPES)] for number in range(self.count)]
        lines = [f"a {shape} in the style of [name]" for shape in shapes]
        drawn = self.draw(lines, concept, vectors, seed)
        goal = np.stack([np.asarray(image) for image, _ in training_pictures(concept)])
        told = read(self.reader, drawn)
        return {
            "palette distance": palette_distance(drawn, goal),
            "shape": statistics.mean(
                one["shape"] == shape for one, shape in zip(told, shapes, strict=True)
            ),
        }, drawn

    def _fault(
        self, concept: Concept, vectors: Any, seed: int
    ) -> tuple[dict[str, float], np.ndarray]:
        size = len(SHAPES)
        asked = [
            (SHAPES[number % size], GROUNDS[(3 * number + number // size) % len(GROUNDS)])
            for number in range(self.count)
        ]
        lines = [f"a {colour} {shape}" for shape, colour in asked]
        states = states_of_words(self.model, lines)
        unsaid = (
            states_of_words(self.model, ["[name]"], concept.initializer)
            if vectors is None
            else states_of(self.model, ["[name]"], vectors)
        )
        without = draw(self.pipeline, states, self.empty, seed)
        with_it = draw(self.pipeline, states, unsaid, seed)

        def followed(pictures: np.ndarray) -> float:
            told = read(self.reader, pictures)
            found = [(one["shape"], one["colour"]) for one in told]
            return statistics.mean(map(eq, found, asked))

        return {
            "better": better_share(self.critic, with_it, without),
            "followed without": followed(without),
            "followed": followed(with_it),
            "crispness without": crispness(without),
            "crispness": crispness(with_it),
        }, np.concatenate([without, with_it])


def shares(thing: Thing, told: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """The share of pictures in which a thing's shape, fill and colours are right, and all of it."""
    colours = (thing.colour, thing.accent)
    hits = [
        {
            "shape": one["shape"] == thing.shape,
            "fill": one["fill"] == thing.fill,
            "colours": (one["colour"], one["accent"]) == colours,
        }
        for one in told
    ]
    found = {key: statistics.mean(hit[key] for hit in hits) for key in hits[0]}
    return found | {"concept": statistics.mean(all(hit.values()) for hit in hits)}


def palette_distance(pictures: np.ndarray, goal: np.ndarray) -> float:
    """Mean distance of the pictures' colours to the nearest of the goal's, 0 to 441."""
    palette = torch.from_numpy(goal[:, ::8, ::8].reshape(-1, 3)).float()
    found = torch.from_numpy(pictures[:, ::8, ::8].reshape(-1, 3)).float()
    return float(torch.cdist(found, palette).min(dim=1).values.mean())


def contrast(pictures: np.ndarray) -> np.ndarray:
    """How far each picture's colours are from their mean, ``[n]``, 0 to 441."""
    colours = pictures.reshape(len(pictures), -1, 3).astype(np.float32)
    return np.sqrt(((colours - colours.mean(axis=1, keepdims=True)) ** 2).sum(-1).mean(-1))


def crispness(pictures: np.ndarray) -> float:
    """Mean strength of the pictures' edges."""
    grey = pictures.astype(np.float32).mean(axis=-1)
    return float(np.mean([np.hypot(*np.gradient(one)).mean() for one in grey]))


def main() -> None:
    """Train, draw, judge; print a line for each run and the means at the end."""
    options = parse()
    torch.set_num_threads(options.threads)
    model = load(Checkpoint("starter", options.model), torch.device("cpu"), torch.float32)
    judge = Judge(model, load_pipeline(options.model), options.pictures)
    rows: list[dict[str, Any]] = []

    def images_of(concept: Concept) -> list[Image.Image]:
        if options.clutter and concept.kind == "object":
            return images_on_clutter(concept)
        return [image for image, _ in training_pictures(concept)]

    def note(name: str, key: str, seed: int, found: dict[str, float], images: np.ndarray) -> None:
        rows.append({"name": name, "preset": key, "seed": seed, **found})
        figures = ", ".join(f"{label} {value:.2f}" for label, value in found.items())
        print(f"{name}, {key}, seed {seed}: {figures}", flush=True)
        if options.sheets:
            options.sheets.mkdir(parents=True, exist_ok=True)
            sheet(images).save(options.sheets / f"{name}-{key}-{seed}.png")

    concepts = [item for item in CONCEPTS if item.name in options.concepts]
    if options.lot is not None:
        concepts = objects_by_lot(options.lot, 10)
    for concept in concepts:
        note(concept.name, "initializer", 0, *judge.look(concept, None, 0))
        for key in options.presets:
            for seed in range(options.seeds):
                recipe = recipe_of(key, concept, seed, options.change)
                images, texts, name = images_of(concept), texts_of(concept), concept.name
                initializer = concept.initializer
                if recipe.guided:
                    (images, texts), initializer = good_images(GOOD_IMAGES), "picture"
                if options.residual:
                    recipe = replace(recipe, caption_mode="filewords")
                    name, texts = residual(concept.name, len(images))
                task = task_on(model, name, initializer, images, recipe, texts)
                progress, began = begin(task), time.perf_counter()
                for _ in train(task, progress):
                    pass
                seconds = time.perf_counter() - began
                examined = score(task, prepare_eval_set(task, 32), progress.best_vectors)
                first = task.placeholders[0]
                vectors = first.rows(progress.best_vectors)
                found, images = judge.look(concept, vectors, seed)
                found |= {
                    "gain": examined.gain,
                    "editability": editability(baseline_of(task, first), vectors),
                    "step": progress.best_step,
                    "seconds": seconds,
                }
                note(concept.name, key, seed, found, images)
    for key in ["initializer", *options.presets]:
        some = [row for row in rows if row["preset"] == key and "concept there" in row]
        if some:
            means = {
                label: statistics.mean(row[label] for row in some)
                for label in some[0]
                if label not in ("name", "preset", "seed")
            }
            print(f"objects, {key}: " + ", ".join(f"{k} {v:.2f}" for k, v in means.items()))
    if options.json:
        options.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
