"""What a person asks to be trained: name, pictures and recipe, and what can be wrong with them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from webui.errors import AppError, BadField
from webui.prompting.tokens import tokens_of
from webui.training.captions import (
    caption_advice,
    examples,
    initializer_advice,
    initializer_tokens,
)
from webui.training.dataset import (
    ENOUGH,
    HOLD_OUT_FROM,
    MAXIMUM,
    MINIMUM,
    ReadPicture,
    count_problem,
    fitted,
    kept_pixels,
    pair_captions,
    read_picture,
    read_pictures,
)
from webui.training.learned.concepts import Concept, concept_shown, concepts_of, names_in
from webui.training.preflight import Finding, preflight
from webui.training.recipe import Recipe, learning_rate_advice
from webui.training.runs import tracking

if TYPE_CHECKING:
    from webui.libraries import CLIPTokenizer
    from webui.models.model import Model

LONGEST_NAME = 64
_ALLOWED_NAME = re.compile(r"[^\W_](?:[\w.-]*[\w-])?")
_RESERVED_NAMES = {"con", "prn", "aux", "nul"} | {
    f"{d}{n}" for d in ("com", "lpt") for n in range(10)
}


@dataclass(frozen=True)
class TrainingRequest:
    """What a person asks for on the Train tab, over the API or in the terminal."""

    name: str
    """Name of the embedding, as it will be written in prompts; several with commas between them."""
    pictures: tuple[Path, ...]
    """Pictures, and text files that are their captions: of the same names, here or beside them."""
    initializer: str
    """A word or a few that describe the thing coarsely; learning starts from there. As many with
    commas between them as there are names, or one for all."""
    recipe: Recipe
    overwrite: bool = False
    """Whether embeddings of these names may be replaced."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the embeddings."""
        return names_in(self.name)

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The things that are to be learned; BadField if names and initializers do not match."""
        return concepts_of(self.name, self.initializer)


def check_request(
    request: TrainingRequest,
    model: Model | None,
    taken: Collection[str],
    read: ReadPicture = read_picture,
) -> list[tuple[str, str]]:
    """Return all that makes a request impossible, as (field, sentence).

    ``taken`` are the names of other embeddings. Without a model, what depends on it is passed over.
    """
    problems = []
    tokenizer = model.tokenizer if model else None
    for name in request.names:
        if wrong := name_problem(name, tokenizer, taken, request.overwrite):
            problems.append(("name", wrong))
    concepts: tuple[Concept, ...] = ()
    try:
        concepts = request.concepts
    except BadField as problem:
        problems.append((problem.field, str(problem)))
    try:
        pictures = read_pictures(request.pictures, read, request.names)
        if concepts:
            examples(request.recipe, pictures, concepts, len(pictures))
    except AppError as problem:
        problems.append(("pictures", str(problem)))
    if request.recipe.tensorboard and not tracking.available():
        problems.append(("tensorboard", tracking.MISSING))
    return problems + (_check_against(request, model) if model else [])


def _check_against(request: TrainingRequest, model: Model) -> list[tuple[str, str]]:
    from webui.training.denoising import schedule_of
    from webui.training.setup import side_of

    problems = []
    for look in (
        lambda: [initializer_tokens(model.tokenizer, each) for each in _initializers(request)],
        lambda: side_of(request.recipe, model),
        lambda: schedule_of(model),
    ):
        try:
            look()
        except BadField as problem:
            problems.append((problem.field, str(problem)))
        except AppError as problem:
            problems.append(("model", str(problem)))
    return problems


def _initializers(request: TrainingRequest) -> tuple[str, ...]:
    """Return the words of each name; as they are if they do not match, which is told elsewhere."""
    try:
        return tuple(concept.initializer for concept in request.concepts)
    except BadField:
        return (request.initializer,)


def preflight_request(
    request: TrainingRequest,
    model: Model,
    taken: Collection[str],
    read: ReadPicture = read_picture,
) -> list[Finding]:
    """Look over all of a request for what training could suffer from, the worst first."""
    from webui.training.setup import buckets_of, precision_advice, side_of

    pictures, findings = [], []
    paired, unused = pair_captions(request.pictures)
    if len(paired) > MAXIMUM:
        return [Finding(True, None, count_problem(len(paired)))]
    for path, *beside in paired:
        try:
            pictures.append(fitted(read(path, *beside), kept_pixels(len(paired))))
        except AppError as problem:
            findings.append(Finding(True, path.name, str(problem)))
    findings += [Finding(False, path.name, "belongs to no image of its name.") for path in unused]
    recipe, names = request.recipe, request.names
    shows = [concept_shown(picture.path, names) for picture in pictures]
    counts = [shows.count(number) for number in range(len(names))]
    findings += preflight(pictures, side_of(recipe, model), buckets_of(recipe, model))
    advice = (
        hold_out_advice(recipe, min(counts)),
        count_advice(len(pictures)),
        *(name_advice(name, model.tokenizer, taken) for name in names),
        *(initializer_advice(recipe, model.tokenizer, each) for each in _initializers(request)),
        caption_advice(recipe, pictures),
        learning_rate_advice(recipe),
        precision_advice(recipe, model),
    )
    return findings + [Finding(False, None, text) for text in advice if text]


def hold_out_advice(recipe: Recipe, count: int) -> str | None:
    """Warn where there are too few pictures to keep one from training."""
    if not recipe.hold_out or not MINIMUM <= count < HOLD_OUT_FROM:
        return None
    return (
        f"Of {count} images none can be held out, so the report cannot tell learning from "
        f"memorising. With {HOLD_OUT_FROM} or more it can."
    )


def count_advice(count: int) -> str | None:
    """Say that fewer pictures would do."""
    if count <= ENOUGH:
        return None
    return (
        f"{count} images are fine, but 5 good ones usually do as well: give more steps, so that "
        "each of them is seen often enough."
    )


def name_problem(
    name: str, tokenizer: CLIPTokenizer | None, in_use: Collection[str], overwrite: bool
) -> str | None:
    """Say in a sentence or two why an embedding cannot have this name, or None if it can.

    Without a tokenizer, ordinary words are not told apart.
    """
    if not name.strip():
        return "Give the embedding a name; it is what you will write in prompts."
    if len(name) > LONGEST_NAME:
        return f"The name is longer than {LONGEST_NAME} characters; choose a shorter one."
    if not _ALLOWED_NAME.fullmatch(name):
        return (
            "The name can hold letters, digits, hyphens, underscores and dots, and begins with a "
            "letter or digit: it becomes a file name and is written in prompts."
        )
    if name.split(".")[0].lower() in _RESERVED_NAMES:
        return f"“{name}” is reserved by Windows; choose another name."
    if not overwrite and name.lower() in {other.lower() for other in in_use}:
        return f"There is an embedding “{name}” already. Choose another name, or replace it."
    if tokenizer is not None and len(tokens_of(tokenizer).of(name.lower())) == 1:
        return (
            f"“{name}” is an ordinary word of the model; every prompt with that word would change. "
            f"Choose a name of your own, such as “my-{name}”."
        )
    return None


def name_suggestion(
    name: str, tokenizer: CLIPTokenizer | None, in_use: Collection[str]
) -> str | None:
    """Return a name like this one that an embedding can have, or None if there is none near."""
    plain = re.sub(r"[^\w.-]+", "-", name.strip())[: LONGEST_NAME - 4].strip("-_.")
    if not plain:
        return None
    near = (plain, f"my-{plain}", *(f"{plain}-{number}" for number in range(2, 10)))
    return next((text for text in near if not name_problem(text, tokenizer, in_use, False)), None)


def name_advice(name: str, tokenizer: CLIPTokenizer, in_use: Collection[str]) -> str | None:
    """Warn where one name begins with another, which some programs confuse in prompts."""
    ours = tokens_of(tokenizer).of(name.lower())
    if not ours:
        return None  # nothing is entered yet
    for other in sorted(in_use):
        theirs = tokens_of(tokenizer).of(other.lower())
        shorter = min(len(ours), len(theirs))
        if other.lower() != name.lower() and ours[:shorter] == theirs[:shorter]:
            return (
                f"“{name}” and the installed “{other}” begin alike; some programs take one for "
                "the other."
            )
    return None
