"""Captions for training: sentences around the name, and their token ids with places for vectors."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from webui.errors import AppError, BadField
from webui.files import open_regular
from webui.prompting.chunks import CHUNK_TOKENS, Chunk, Insert, Words, lay_out
from webui.prompting.tokens import tokens_of
from webui.training.learned.concepts import MARK, Concept, mark, marked, number_of
from webui.training.recipe import Recipe
from webui.training.stages import NAME, stage_at, stages_of

if TYPE_CHECKING:
    from webui.libraries import CLIPTokenizer
    from webui.training.dataset import Picture

LONGEST_TEMPLATES = 64 * 1024
"""Bytes of a file of templates that are read."""
TEXT = "[filewords]"
"""What stands for a picture's text in templates, as in AUTOMATIC1111's."""

OBJECT_TEMPLATES = (
    "a photo of a [name]",
    "a picture of a [name]",
    "a photo of the [name]",
    "a photo of one [name]",
    "a clear photo of a [name]",
    "a close-up of a [name]",
    "a good picture of the [name]",
    "an image of a [name]",
    "the [name]",
    "a [name]",
)
STYLE_TEMPLATES = (
    "a picture in the style of [name]",
    "a painting in the style of [name]",
    "an image in the style of [name]",
    "art in the style of [name]",
    "a scene in the style of [name]",
    "a [name] picture",
    "a work in [name] style",
    "[name] art",
)
STYLE_OF_TEMPLATES = (
    "[filewords] in the style of [name]",
    "a picture of [filewords] in the style of [name]",
    "a painting of [filewords] in the style of [name]",
    "an image of [filewords] in the style of [name]",
    "[filewords], art in the style of [name]",
)
"""For images whose text says what is on them: where it is not said, a style has to share its
vectors with that, and keeps the colours that the model knows of things."""
NEGATIVE_TEMPLATES = (
    "[name]",
    "a photo, [name]",
    "a picture, [name]",
    "an image, [name]",
    "a [name] picture",
)
TEMPLATES = {"object": OBJECT_TEMPLATES, "style": STYLE_TEMPLATES, "negative": NEGATIVE_TEMPLATES}


def read_templates(path: Path) -> tuple[str, ...]:
    """Read a file of templates as AUTOMATIC1111 has them: a line each, with ``[name]``.

    Lines such as ``# 40 %`` begin stages. Raises AppError, naming the file, if it cannot be read
    or a line lacks the name.
    """
    try:
        with open_regular(path) as file:
            text = file.read(LONGEST_TEMPLATES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise AppError(f"The templates {path.name} cannot be read.") from problem
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        stages_of(lines or ("",))
    except ValueError as problem:
        raise AppError(f"{path.name} is no file of templates: {problem}") from problem
    return lines


def templates_of(recipe: Recipe, at: float = 1.0, told: bool = False) -> tuple[str, ...]:
    """Return the sentences that a recipe draws from, each with ``[name]``.

    ``at`` from 0 to 1 is the part of the run that is over: stages have sentences of their own.
    ``told`` is whether there is a text that says what is on the picture.
    """
    if recipe.templates:
        return stage_at(stages_of(recipe.templates), at).lines
    if recipe.caption_mode == "filewords" and told:
        if recipe.kind == "style":
            return STYLE_OF_TEMPLATES
        return tuple(f"{line}, {TEXT}" for line in TEMPLATES[recipe.kind])
    return TEMPLATES[recipe.kind]


def words_of(recipe: Recipe, picture: Picture) -> str:
    """Return what sentences say of a picture, "" if nothing does.

    Styles are told by what is on the picture, and so is what a negative is guided to; a camera's
    file names do not say it: there a name with a digit in it counts as none.
    """
    if picture.has_text_file or not (recipe.kind == "style" or recipe.guided):
        return picture.text
    named = not any(letter.isdigit() for letter in picture.text)
    return " ".join(picture.text.replace("_", " ").split()) if named else ""


def prompt_of(recipe: Recipe, picture: Picture) -> str:
    """Return the prompt that a guided run has for a picture: what says what is on it, without the
    name, which has its place in the negative prompt."""
    return " ".join(MARK.sub("", words_of(recipe, picture)).split()).strip(" ,")


def caption(
    recipe: Recipe, picture: Picture, concepts: Sequence[Concept], draw: float, at: float = 1.0
) -> str:
    """Return one caption for a picture, with marks where the vectors go (``concepts.mark``).

    ``[name]`` in sentences and texts is what the picture shows; where a run learns several, the
    others are called by their names. ``draw`` in [0, 1) chooses the template, and what is left out
    or shuffled; ``at`` as for ``templates_of``. Raises AppError if the picture's own text is to be
    used and does not hold a name. Where guidance is in the loop, that text is the prompt instead.
    """
    chance = random.Random(draw)
    names = [concept.name for concept in concepts]

    def with_marks(text: str) -> str:
        return marked(text, names, picture.concept) if len(names) > 1 else text

    if recipe.caption_mode == "files" and not recipe.guided:
        text = with_marks(picture.text)
        text = text if MARK.search(text) else text.replace(names[picture.concept], NAME)
        line = _by_lot(recipe, text, chance)
        if not MARK.search(line):
            raise AppError(
                f"The caption of “{picture.path.name}” does not hold the name "
                f"“{names[picture.concept]}” or [name]; nothing would be learned from it. Add it "
                "to the text, or use templates."
            )
    else:
        words = "" if recipe.guided else words_of(recipe, picture)
        lines = templates_of(recipe, at, told=bool(words))
        line = with_marks(lines[int(draw * len(lines))])
        line = line.replace(TEXT, _by_lot(recipe, with_marks(words), chance))
    if chance.random() < recipe.caption_dropout:
        line = mark(picture.concept)
    for found in MARK.finditer(line):
        if number_of(found) >= len(names):
            raise AppError(
                f"A caption of “{picture.path.name}” has {found[0]}, but the run has "
                f"{len(names)} names."
            )
    if recipe.append_initializer:
        line = MARK.sub(lambda found: f"{found[0]} {concepts[number_of(found)].initializer}", line)
    return line.strip(" ,")


def _by_lot(recipe: Recipe, text: str, chance: random.Random) -> str:
    """Return a picture's text with its tags dropped and shuffled as the recipe has it."""
    if not recipe.tag_dropout and not recipe.shuffle_tags:
        return text
    tags = [
        tag.strip()
        for tag in text.split(",")
        if MARK.search(tag) or chance.random() >= recipe.tag_dropout
    ]
    if recipe.shuffle_tags:
        chance.shuffle(tags)
    return ", ".join(tags)


def examples(
    recipe: Recipe, pictures: Sequence[Picture], concepts: Sequence[Concept], count: int = 10
) -> list[str]:
    """Return captions as a run would draw them from its start to its end, with the names."""
    draw = random.Random(recipe.seed)
    lines = (
        caption(recipe, pictures[index % len(pictures)], concepts, draw.random(), index / count)
        for index in range(count if pictures else 0)
    )
    return [MARK.sub(lambda found: concepts[number_of(found)].name, line) for line in lines]


class Preview(NamedTuple):
    """What is drawn to look at a run."""

    prompt: str
    negative_prompt: str
    concept: int
    """Which of the run's names it shows, counted from 0."""


def preview_of(recipe: Recipe, prompt: str, call: str) -> tuple[str, str]:
    """Return a preview's prompt and negative prompt, with ``call`` in the place of the name.

    A fault's prompts without a place for it have it in the negative prompt, as it will be used.
    """
    if recipe.kind == "negative" and NAME not in prompt:
        return prompt, call
    return prompt.replace(NAME, call), ""


def previews_of(recipe: Recipe, calls: Sequence[str]) -> list[Preview]:
    """Return a run's previews, with ``calls`` in the places of its names.

    Each prompt is drawn once for each name; one that calls several by their marks, such as
    ``[name] beside [name 2]``, once for all.
    """
    made = []
    for prompt in recipe.preview_prompts:
        together = any(number_of(found) for found in MARK.finditer(prompt))
        for number, call in enumerate(calls[:1] if together else calls):
            shown, negative = preview_of(recipe, prompt, call)
            shown = MARK.sub(lambda found: calls[min(number_of(found), len(calls) - 1)], shown)
            made.append(Preview(shown, negative, number))
    return made


def initializer_tokens(tokenizer: CLIPTokenizer, text: str) -> tuple[int, ...]:
    """Return the token ids an embedding starts from; BadField if there are none."""
    ids = tokens_of(tokenizer).of(text.strip())
    if not ids:
        raise BadField(
            "initializer",
            "The initializer is empty. Write a word or two that describe the thing coarsely, "
            "such as “cat” or “oil painting”: learning starts from there.",
        )
    return ids


def initializer_pieces(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """Return the pieces, one a token, that the model reads an initializer as."""
    tokens = tokens_of(tokenizer)
    return [tokens.text([token]) for token in tokens.of(text.strip())]


def caption_advice(recipe: Recipe, pictures: Sequence[Picture]) -> str | None:
    """Warn where nothing is said about the images of a style, or of a guided run."""
    own = recipe.caption_mode == "files" or recipe.templates
    if recipe.guided and not all(prompt_of(recipe, picture) for picture in pictures):
        return (
            "With a CFG scale in training each image needs a prompt that says what is on it. Call "
            "the files what they show, as in “red house.png”, or put a text file beside each."
        )
    if recipe.kind != "style" or own or any(words_of(recipe, picture) for picture in pictures):
        return None
    return (
        "No caption says what is on the images, so the style is learned less well, and things keep "
        "their usual colours. Call the files what they show, as in “red house.png”, or put a text "
        "file beside each."
    )


def initializer_advice(recipe: Recipe, tokenizer: CLIPTokenizer, text: str) -> str | None:
    """Warn where learning does not start from the whole initializer, or from no meaning at all."""
    ids = tokens_of(tokenizer).of(text.strip())
    count = vector_count(recipe, ids)
    if len(ids) > count > 0:
        pieces = " · ".join(initializer_pieces(tokenizer, text))
        return (
            f"The initializer is {len(ids)} tokens of the model, {pieces}, and the embedding has "
            f"{count} of their places: learning starts from the first. Use more vectors, or fewer "
            "or commoner words."
        )
    if ids and not any(letter.isalnum() for letter in text):
        return (
            f"The initializer “{text.strip()}” means nothing to the model. Write a word that "
            "describes the thing coarsely: a fair one is half of the way."
        )
    return None


def vector_count(recipe: Recipe, initializer_ids: Sequence[int]) -> int:
    """Return how many vectors a run trains: as the recipe says, or one per initializer token."""
    return recipe.vectors or min(4, len(initializer_ids))


def lay_out_caption(tokenizer: CLIPTokenizer, line: str, *names: Insert | Words) -> Chunk:
    """Lay a caption out in one chunk, with ``names`` in the places of their marks.

    The parts around a name are tokenised by themselves, so that no tokenizer can split or join
    it. What is too long is cut at the end, or before the first name if that alone leaves it room.
    """
    tokens = tokens_of(tokenizer)
    first, *rest = MARK.split(line)
    calls = [names[int(number or 1) - 1] for number in rest[::2]]
    room = CHUNK_TOKENS - len(calls[0]) if calls else CHUNK_TOKENS
    items: list[Insert | Words] = [Words(tokens.of(first)[:room])]
    used = len(items[0])
    for name, part in zip(calls, map(tokens.of, rest[1::2]), strict=True):
        if used + len(name) > CHUNK_TOKENS:
            break
        used += len(name)
        items += [name, Words(part[: CHUNK_TOKENS - used])]
        used += len(part)
    return lay_out(items, tokens.bos, tokens.eos, tokens.comma).chunks[0]
