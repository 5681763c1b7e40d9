"""Is the verdict on a training right? `python bench/verdicts.py --notes notes.jsonl`.

Trains the starter model on all that people try (things of its world that it has no word for, wrong
initializers, too few steps, too many, styles, noise, other programs' drawings, photographs), draws
twelve images for each name, and compares what the verdict said with what the images show. Of
things the reader says what is in them; of the rest their distance to the training images is
measured, in the VAE's latents and in the reader's features, beside that of these to each other.

A run's numbers are noted as it ends, and a run that is noted is not made again; so the bench can be
stopped, shared by several processes (``--part 1/2``), and its limits changed without new runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import gradio  # noqa: E402
import torch  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from bench.concept_task import task_on, texts_of  # noqa: E402
from bench.concepts import Judge, palette_distance, sheet  # noqa: E402
from starter.concepts import (  # noqa: E402
    OBJECTS,
    STYLES,
    Concept,
    training_pictures,
)
from starter.reader import read, reduced  # noqa: E402
from starter.shipping import load_pipeline  # noqa: E402
from starter.vae import to_tensor  # noqa: E402
from starter.world import SHAPES, random_thing  # noqa: E402
from webui.models.catalog import Checkpoint  # noqa: E402
from webui.models.loader import load  # noqa: E402
from webui.models.model import Model  # noqa: E402
from webui.training.dataset import Picture  # noqa: E402
from webui.training.evaluation import (  # noqa: E402
    baseline_of,
    editability,
    norm_ratio,
    prepare_eval_set,
    score,
)
from webui.training.presets import preset  # noqa: E402
from webui.training.recipe import Recipe  # noqa: E402
from webui.training.runs.report import EvalResult, judge  # noqa: E402
from webui.training.trainer import begin, train  # noqa: E402
from webui.training.trials.drawable import Comparison, OwnPictures, Strangeness, compare  # noqa: E402
from webui.training.trials.latents import LatentCache  # noqa: E402

SHOWN = 0.5
"""Share of images that must show a thing, and of those that must have the background asked for."""
ALIKE = 1.3
"""So many times the training images' median distance to each other, drawn ones may be from them."""
COUNT = 12
PHOTOGRAPHS = ("cheetah1.jpg", "lion.jpg", "tower.jpg", "bus.png", "cheetah.jpg", "groot.jpeg")
"""Images that come with Gradio."""


@dataclass(frozen=True)
class Case:
    """A training that somebody might try."""

    kind: str
    name: str
    concept: Concept | None
    initializer: str
    images: tuple[Image.Image, ...]
    steps: int | None = None
    """None for the preset's."""
    texts: tuple[str, ...] = ()
    """What the images' files are called; none for numbers."""


def cases(seed: int) -> Iterator[Case]:
    """All of them, the same for the same seed."""
    rng = np.random.default_rng((seed, 77))
    for concept in OBJECTS:
        yield _of_concept("concept", concept)
    for number, concept in enumerate(OBJECTS):
        wrong = OBJECTS[(number + 2) % len(OBJECTS)].initializer
        yield replace(_of_concept("wrong initializer", concept), initializer=wrong)
    usual = preset("object", "starter").steps
    for concept in OBJECTS:
        yield replace(_of_concept("few steps", concept), steps=8)
    for concept in OBJECTS:
        yield replace(_of_concept("many steps", concept), steps=3 * usual)
    for number in range(12):
        thing = replace(random_thing(rng, (0.0, 0.4, 0.3, 0.3), set()), size="medium")
        start = thing.shape if number % 3 else SHAPES[rng.integers(len(SHAPES))]
        concept = Concept(f"made-{number}", "object", start, thing)
        yield _of_concept("made by lot", concept, seed)
    for concept in STYLES:
        for draw in range(3):
            case = replace(_of_concept("style", concept, draw), name=f"{concept.name}-{draw}")
            yield replace(case, texts=texts_of(concept, draw) if draw else ())
    for number in range(4):
        yield Case("noise", f"noise-{number}", None, "star", tuple(_noise(rng, number)))
    for number in range(8):
        shape = ("star", "heart", "house", "circle")[number % 4]
        yield Case("other drawing", f"drawn-{number}", None, shape, tuple(_drawings(rng, shape)))
    for number, file in enumerate(PHOTOGRAPHS):
        path = Path(gradio.__file__).parent / "media_assets" / "images" / file
        shown = tuple(_crops(rng, Image.open(path).convert("RGB")))
        start = ("house", "cat", "tree", "car", "circle", "star")[number]
        yield Case("photograph", path.stem, None, start, shown)


def _of_concept(kind: str, concept: Concept, seed: int = 0) -> Case:
    images = tuple(image for image, _ in training_pictures(concept, seed))
    return Case(kind, concept.name, concept, concept.initializer, images)


def _noise(rng: np.random.Generator, coarse: int) -> Iterator[Image.Image]:
    """Five images of coloured noise, the coarser the higher the number."""
    side = 256 >> (2 * coarse)
    for _ in range(5):
        grains = rng.integers(256, size=(side, side, 3), dtype=np.uint8)
        yield Image.fromarray(grains).resize((256, 256), Image.Resampling.NEAREST)


def _drawings(rng: np.random.Generator, shape: str) -> Iterator[Image.Image]:
    """Five images of one thing with uneven dots, in colours and outlines of no model's world."""
    fill, edge, dots = (tuple(rng.integers(256, size=3).tolist()) for _ in range(3))
    places = rng.uniform(0.2, 0.8, size=(14, 3))
    for _ in range(5):
        image = Image.new("RGB", (256, 256), tuple(rng.integers(256, size=3).tolist()))
        pen, side = ImageDraw.Draw(image), rng.uniform(110, 190)
        left, top = rng.uniform(5, 251 - side, size=2)
        if shape == "circle":
            pen.ellipse((left, top, left + side, top + side), fill, edge, 7)
        else:
            corners = [(left + x * side, top + y * side) for x, y in _OUTLINES[shape]]
            pen.polygon(corners, fill, edge, 7)
        for x, y, size in places:
            centre, radius = (left + x * side, top + y * side), size * side / 14
            box = [centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius]
            pen.ellipse(box, dots)
        yield image


_OUTLINES = {
    "star": [
        (0.5 + radius * np.sin(turn * np.pi / 5), 0.5 - radius * np.cos(turn * np.pi / 5))
        for turn, radius in zip(range(10), [0.5, 0.2] * 5, strict=True)
    ],
    "heart": [(0.5, 0.3), (0.75, 0.05), (1.0, 0.3), (0.5, 1.0), (0.0, 0.3), (0.25, 0.05)],
    "house": [(0.0, 0.45), (0.5, 0.0), (1.0, 0.45), (1.0, 1.0), (0.0, 1.0)],
}


def _crops(rng: np.random.Generator, photograph: Image.Image) -> Iterator[Image.Image]:
    """Five parts of a photograph, each most of it."""
    side = int(min(photograph.size) * 0.8)
    for _ in range(5):
        left = int(rng.integers(photograph.width - side + 1))
        top = int(rng.integers(photograph.height - side + 1))
        yield photograph.crop((left, top, left + side, top + side)).resize((256, 256))


Compare = Callable[[Sequence[Image.Image], Recipe], Comparison]
"""Compares images with the model's own."""


class Truth:
    """Whether images drawn for a name show what it was trained on."""

    def __init__(self, model: Model, look: Judge) -> None:
        self.model, self.look = model, look

    def of(self, case: Case, vectors: Any) -> tuple[bool, dict[str, float], np.ndarray]:
        """Return whether "learned" is deserved, what was measured, and the images."""
        if case.concept is not None and case.concept.kind == "object":
            found, images = self.look.look(case.concept, vectors, 0)
            deserved = min(found["concept"], found["background"]) >= SHOWN
        elif case.concept is not None:
            found, images = self.look.look(case.concept, vectors, 0)
            goal = np.stack([np.asarray(image) for image in case.images])
            start = self.look.look(case.concept, None, 0)[1]
            found["palette distance of the initializer"] = palette_distance(start, goal)
            near = found["palette distance"] <= 0.5 * found["palette distance of the initializer"]
            deserved = near and found["shape"] >= SHOWN
        else:
            found, images = self._foreign(case, vectors)
            deserved = max(found["VAE"], found["reader"]) <= ALIKE
        return deserved, found, images

    def _foreign(self, case: Case, vectors: Any) -> tuple[dict[str, float], np.ndarray]:
        start = Concept(case.name, "object", case.initializer)
        lines = ["a photo of a [name]"] * self.look.count
        drawn = self.look.draw(lines, start, vectors, 0)
        told = read(self.look.reader, drawn)
        given = np.stack([np.asarray(image) for image in case.images])
        found = {"still the initializer": statistics.mean(
            one["shape"] == case.initializer for one in told
        )}  # fmt: skip
        for label, features in (("VAE", self._latents), ("reader", self._thoughts)):
            own, theirs = features(given), features(drawn)
            among = torch.cdist(own, own) + torch.eye(len(own)) * 1e9
            found[label] = float(
                torch.cdist(theirs, own).min(dim=1).values.median()
                / among.min(dim=1).values.median()
            )
        return found, drawn

    @torch.no_grad()
    def _latents(self, pictures: np.ndarray) -> Tensor:
        """[n, 4*8*8]: the VAE's latents, coarse enough not to ask for the same place."""
        parts = [
            self.model.vae.encode(to_tensor(pictures[at : at + 4])).latent_dist.mean
            for at in range(0, len(pictures), 4)
        ]
        return functional.avg_pool2d(torch.cat(parts), 4).flatten(1)

    @torch.no_grad()
    def _thoughts(self, pictures: np.ndarray) -> Tensor:
        """[n, 256]: what the reader makes of a picture before it decides."""
        reader = self.look.reader
        thoughts = reader.think(reader.see(reduced(pictures)))
        return functional.normalize(thoughts, dim=1)


def run(
    model: Model, truth: Truth, case: Case, beside: Compare
) -> tuple[dict[str, Any], np.ndarray]:
    """Train a case and return its note and what was drawn."""
    kind = "style" if case.concept and case.concept.kind == "style" else "object"
    recipe = preset(kind, "starter")
    recipe = replace(recipe, steps=case.steps or recipe.steps)
    task = task_on(model, case.name, case.initializer, case.images, recipe, case.texts)
    progress = begin(task)
    for _ in train(task, progress):
        pass
    vectors, baseline = progress.best_vectors, baseline_of(task, task.placeholders[0])
    found = score(task, prepare_eval_set(task, 2 * recipe.evaluation_tuples), vectors)
    deserved, measured, images = truth.of(case, vectors)
    note = {
        "kind": case.kind, "name": case.name, "deserved": deserved, "measured": measured,
        "score": asdict(found), "editability": editability(baseline, vectors),
        "norm": float(norm_ratio(task.norms, vectors)), "step": progress.best_step,
        "beside": asdict(beside(case.images, recipe)),
    }  # fmt: skip
    return note, images


def told(note: dict[str, Any]) -> str:
    """The verdict on a noted run, by the limits as they are now."""
    found = EvalResult(**note["score"] | {"thirds": tuple(note["score"]["thirds"])})
    beside = Comparison(
        Strangeness(**note["beside"]["pictures"]),
        Strangeness(**note["beside"]["own"]),
        note["beside"]["words_gain"],
    )
    return judge(found, note["editability"], note["norm"], classic=False, beside=beside)[0]


def table(notes: Sequence[dict[str, Any]]) -> str:
    """The confusion table as Markdown, and how often "learned" was right and was found."""
    verdicts = ("learned", "not shown", "weak", "overfitted")
    rows = [
        f"| runs | {' | '.join(verdicts)} |",
        "| --- |" + " ---: |" * len(verdicts),
    ]
    for kind in [*dict.fromkeys(note["kind"] for note in notes), "all"]:
        for deserved, words in ((True, "shown in its images"), (False, "not shown in them")):
            some = [
                told(note)
                for note in notes
                if note["deserved"] == deserved and kind in (note["kind"], "all")
            ]
            if some:
                counts = " | ".join(str(some.count(verdict)) for verdict in verdicts)
                rows.append(f"| {kind}, {words} | {counts} |")
    said = [note for note in notes if told(note) == "learned"]
    due = [note for note in notes if note["deserved"]]
    right = sum(note["deserved"] for note in said)
    return "\n".join(rows) + (
        f"\n\n“learned” is right in {right} of {len(said)} runs that it is said of, and said of "
        f"{right} of {len(due)} that deserve it."
    )


def run_missing(options: argparse.Namespace) -> None:
    """Run what is not noted yet and note it."""
    model = load(Checkpoint("starter", options.model), torch.device("cpu"), torch.float32)
    look = Judge(model, load_pipeline(options.model), COUNT)
    truth = Truth(model, look)
    own, latents = OwnPictures(), LatentCache()

    def draw(prompts: Sequence[str]) -> list[Image.Image]:
        return [Image.fromarray(one) for one in look.draw(prompts, OBJECTS[0], None, 0)]

    def beside(images: Sequence[Image.Image], recipe: Recipe) -> Comparison:
        pictures = [
            Picture(Path(f"{number}.png"), image, None, str(number), "", False)
            for number, image in enumerate(images)
        ]
        found = compare(model, recipe, pictures, own, draw, nullcontext, latents)
        assert found is not None
        return found

    part, parts = map(int, options.part.split("/"))
    for number, case in enumerate(cases(options.seed)):
        known = {(note["kind"], note["name"]) for note in noted(options.notes)}
        mine = number % parts == part - 1 and case.kind in (options.kinds or [case.kind])
        if not mine or (case.kind, case.name) in known:
            continue
        note, images = run(model, truth, case, beside)
        with open(options.notes, "a") as file:
            file.write(json.dumps(note) + "\n")
        said = "deserves it" if note["deserved"] else "does not deserve it"
        print(f"{case.kind}, {case.name}: {told(note)}; {said}", flush=True)
        if options.sheets:
            options.sheets.mkdir(parents=True, exist_ok=True)
            sheet(images).save(options.sheets / f"{case.kind}-{case.name}.png")


def noted(path: Path) -> list[dict[str, Any]]:
    """The notes on all runs so far."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> None:
    """Run what is not noted yet, and print the table of all that is."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, default=ROOT / "models" / "starter")
    add("--notes", type=Path, required=True, help="a file of a JSON object a run, added to")
    add("--seed", type=int, default=0)
    add("--kinds", nargs="*", help="of runs, such as noise; all if not given")
    add("--part", default="1/1", help="of the runs, such as 1/2")
    add("--threads", type=int, default=1)
    add("--sheets", type=Path, help="write contact sheets into this folder")
    add("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.notes.touch()
    if not options.table:
        run_missing(options)
    print(table(noted(options.notes)))


if __name__ == "__main__":
    main()
