"""What decides a training run beside its pictures: the recipe, each setting declared once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from webui.declared import STRICT, Declared, Setting, by_current_names, fields_of
from webui.errors import BadField

USUAL_NUMBER = 0.014
"""Root mean square of the numbers of a word's vector in Stable Diffusion 1.x."""
LEAST_TURN = 0.1
"""Radians: words that lie so near to each other cannot be told apart in a picture."""


def parse_learning_rate(text: str) -> tuple[tuple[float, int], ...]:
    """Read ``0.005:100, 1e-3:1000, 1e-5`` as ((rate, last step), …); no step or -1 = to the end.

    Raises ValueError for anything else.
    """
    pieces: list[tuple[float, int]] = []
    for part in text.split(","):
        number, _, until = part.strip().partition(":")
        try:
            rate, last = float(number), int(until) if until.strip() else -1
        except ValueError:
            raise ValueError(
                f"The learning rate “{text}” is neither a number nor “0.005:100, 0.001”."
            ) from None
        if not (math.isfinite(rate) and 0 < rate <= 10):
            raise ValueError(f"The learning rate {number.strip()} is not between 0 and 10.")
        if last != -1 and (last < 1 or (pieces and last <= pieces[-1][1])):
            raise ValueError(f"The steps in the learning rate “{text}” must rise.")
        if pieces and pieces[-1][1] == -1:
            raise ValueError(f"In “{text}” something follows a rate that has no last step.")
        pieces.append((rate, last))
    return tuple(pieces)


def _as_text(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else value


def _learning_rate(text: str) -> str:
    parse_learning_rate(text)
    return text


def _scheduler(value: Any) -> Any:
    """Return the word for what earlier versions wrote as ``cosine = true`` or ``false``."""
    return ("cosine" if value else "constant") if isinstance(value, bool) else value


def _template(line: str) -> str:
    if "[name]" not in line:
        raise ValueError(f"The template “{line}” lacks [name].")
    return line


def _position(value: float) -> float:
    if value != -1 and not 0 <= value <= 1:
        raise ValueError(f"The crop position {value:g} is neither -1 nor from 0 to 1.")
    return value


_Lax = Field(strict=False)  # JSON and TOML have lists, not tuples


@dataclass(frozen=True, config=STRICT)
class Recipe(Declared):
    """How vectors are learned; equal recipe, pictures, model and machine give an equal file.

    Page, API, TOML, Kohya's configurations, the command line and the table in docs/training.md
    are derived from these declarations. Raises BadField for values that cannot be used.
    """

    steps: Annotated[
        int,
        Field(ge=1, le=20000),
        Setting(kohya="max_train_steps", page="settings"),
    ] = 500
    """Updates of the vectors."""
    vectors: Annotated[
        int,
        Field(ge=0, le=16, title="Vectors (0 = by the initializer)"),
        Setting(kohya="num_vectors_per_token", api="num_vectors_per_token", page="settings"),
    ] = 0
    """Token positions the embedding takes; 0 = one per token of the initializer, 4 at most. More
    hold more detail, and are harder to combine with other words."""
    batch_size: Annotated[
        int,
        Field(ge=1, le=64),
        Setting(kohya="train_batch_size", old=("batch",), page="settings"),
    ] = 4
    """Samples computed together."""
    learning_rate: Annotated[
        str,
        BeforeValidator(_as_text),
        AfterValidator(_learning_rate),
        Setting(kohya="learning_rate", api="learn_rate", old=("rate",), page="settings"),
    ] = "0.04"
    """Radians in a step for directional; a number or a schedule ``0.005:100, 1e-3:1000`` (rate
    until step). Never scaled by batch or accumulation."""
    prior_weight: Annotated[
        float,
        Field(ge=0, le=1, title="Likeness ↔ flexibility"),
        Setting(old=("pull",), page="settings", slider=(0, 5e-4, 5e-5)),
    ] = 1e-4
    """Directional: how strongly the vectors are pulled back to the initializer, beside gradients
    of length 1e-3. 0 = closest likeness; more, up to 5e-4, follows the rest of the prompt
    better."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), Setting(kohya="seed", page="settings")] = 0
    """Decides every draw: order of the pictures, captions, noise, timesteps."""
    kind: Annotated[
        Literal["object", "style", "negative"],
        Field(title="What is learned"),
        Setting(
            page="settings",
            choices=(
                ("an object", "object"),
                ("a style", "style"),
                ("a fault (for the negative prompt)", "negative"),
            ),
        ),
    ] = "object"
    """Decides which sentences captions are made of: object, style or negative."""
    caption_mode: Annotated[
        Literal["templates", "filewords", "files"],
        Field(title="Captions"),
        Setting(
            old=("captions",),
            page="settings",
            choices=(
                ("sentences around the name", "templates"),
                ("sentences, then each picture's .txt file", "filewords"),
                ("only the .txt files", "files"),
            ),
        ),
    ] = "templates"
    """What captions are made of: sentences around the name (templates), the same followed by the
    text file of each picture (filewords), or only that text, which must hold the name or
    ``[name]`` (files)."""
    buckets: Annotated[
        bool,
        Field(title="Aspect-ratio buckets"),
        Setting(kohya="enable_bucket", api="varsize", page="settings"),
    ] = False
    """Pictures are not cut to squares: each to the nearest of several sizes that have the square's
    area at most, and every batch is of one size."""
    tensorboard: Annotated[bool, Field(title="Log to TensorBoard"), Setting(page="settings")] = (
        field(default=False, compare=False)
    )
    """The run's numbers are also written for TensorBoard, where it is installed."""
    optimizer: Literal["directional", "adamw"] = "directional"
    """directional: the norm is held and only the direction learned, which keeps prompts editable
    (Directional Textual Inversion, arXiv 2512.13672); adamw: classic textual inversion."""
    lr_scheduler: Annotated[
        Literal["cosine", "constant"],
        BeforeValidator(_scheduler),
        Field(title="Learning rate scheduler"),
        Setting(old=("cosine",)),
    ] = "cosine"
    """Whether the learning rate falls to zero along a cosine until the last step."""
    warmup_steps: Annotated[
        int, Field(ge=0, le=20000), Setting(kohya="lr_warmup_steps", old=("warmup",))
    ] = 10
    """Steps over which the learning rate rises from nothing."""
    gradient_accumulation_steps: Annotated[
        int,
        Field(ge=1, le=64),
        Setting(kohya="gradient_accumulation_steps", api="gradient_step", old=("accumulation",)),
    ] = 1
    """Batches per update; saves memory at the price of time."""
    max_grad_norm: Annotated[
        float, Field(ge=0, le=1000), Setting(kohya="max_grad_norm", old=("clip",))
    ] = 0.0
    """AdamW: gradients are clipped to this norm; 0 = they are not."""
    min_snr_gamma: Annotated[
        float,
        Field(ge=0, le=100, title="Min-SNR gamma"),
        Setting(kohya="min_snr_gamma", old=("min_snr",)),
    ] = 0.0
    """Weight of the loss at little noise is cut as in Min-SNR (arXiv 2303.09556), usually 5;
    0 = plain loss."""
    mixed_precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], Setting(old=("precision",))
    ] = "auto"
    """What a UNet that was loaded in float32 computes in; auto = bf16 where the device is made for
    it. The vectors and the loss are always float32."""
    gradient_checkpointing: Annotated[bool, Setting(kohya="gradient_checkpointing")] = False
    """Computes parts twice to save memory: a third more time, about 0.5 GiB less per sample."""
    templates: Annotated[
        tuple[Annotated[str, AfterValidator(_template)], ...],
        _Lax,
        Field(title="Caption templates"),
    ] = ()
    """Sentences of one's own with ``[name]`` and maybe ``[filewords]``; none = those for what is
    learned."""
    append_initializer: bool = False
    """The initializer follows the name in each caption ("a photo of NAME person")."""
    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the samples whose caption is the name alone."""
    tag_dropout: Annotated[
        float, Field(ge=0, le=1), Setting(kohya="caption_tag_dropout_rate", api="tag_drop_out")
    ] = 0.0
    """Share of the tags (between commas) of a picture's text that are left out each time; never
    the one that holds the name."""
    shuffle_tags: Annotated[bool, Setting(kohya="shuffle_caption", api="shuffle_tags")] = False
    """The tags of a picture's text come in another order each time."""
    resolution: Annotated[int, Field(ge=0, le=2048), Setting(old=("size",))] = 0
    """Side of the square training pictures in pixels, a multiple of 64 for most models; 0 = the
    side the model was made for."""
    crops: Annotated[int, Field(ge=1, le=8, title="Crops per picture")] = 1
    """The picture's own crop first, then random ones (for styles)."""
    crop_positions: Annotated[
        tuple[Annotated[float, AfterValidator(_position)], ...],
        _Lax,
        Setting(old=("places",), page="own"),
    ] = ()
    """Where along its long side each picture is cut, 0 (left or top) to 1 (right or bottom), in
    the order of the pictures; -1, and those left out = where it has most detail. With buckets the
    same of the side that is cut."""
    flip: Annotated[bool, Setting(kohya="flip_aug")] = False
    """Mirrored pictures are added; wrong for writing and asymmetric things."""
    use_mask: Annotated[bool, Setting(api="use_weight")] = True
    """Transparent parts of a picture are left out of the loss."""
    evaluate_every: Annotated[
        int,
        Field(ge=1, le=20000),
        Setting(kohya="save_every_n_steps", api="save_embedding_every"),
    ] = 25
    """Steps between evaluations, each kept as a checkpoint that can be installed."""
    evaluation_tuples: Annotated[int, Field(ge=2, le=256)] = 16
    """Fixed (picture, noise, timestep) tuples per evaluation; the final one takes twice as many."""
    hold_out: bool = True
    """One picture is kept from training, to tell learning from memorising (from five pictures
    on)."""
    stop_early: bool = False
    """The run ends when the evaluations no longer move (DVAR, arXiv 2302.04841); for a constant
    learning rate."""
    preview_every: Annotated[
        int,
        Field(ge=0, le=20000),
        Setting(kohya="sample_every_n_steps", api="create_image_every"),
    ] = 100
    """Steps between previews; 0 = none."""
    preview_prompts: Annotated[tuple[str, ...], _Lax] = ("a photo of [name]", "[name] in the snow")
    """Prompts of the previews, with ``[name]``. Of a fault's those without it are drawn with the
    name in the negative prompt."""

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON can hold it."""
        found: dict[str, Any] = TypeAdapter(Recipe).dump_python(self, mode="json")
        return found

    def decisive(self) -> dict[str, Any]:
        """Return the settings that decide what is learned, as JSON can hold them."""
        values = self.to_dict()
        return {item.name: values[item.name] for item in fields(self) if item.compare}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from ``to_dict``'s answer, of earlier versions too.

        BadField names a key that does not exist.
        """
        found = by_current_names(cls, values)
        for key in found:
            if key not in fields_of(cls):
                raise BadField(key, f"A recipe has no setting “{key}”.")
        return cls(**found)


def learning_rate_at(recipe: Recipe, step: int) -> float:
    """Return the learning rate of ``step``, counted from 1 to ``last_step(recipe)``."""
    pieces = parse_learning_rate(recipe.learning_rate)
    base = next(rate for rate, last in pieces if last == -1 or step <= last)
    warm = min(1.0, step / (recipe.warmup_steps + 1))
    if recipe.lr_scheduler == "constant":
        return base * warm
    return base * warm * 0.5 * (1 + math.cos(math.pi * (step - 1) / last_step(recipe)))


def last_step(recipe: Recipe) -> int:
    """Return the step a run ends with; a learning rate schedule that ends earlier ends the run."""
    last = parse_learning_rate(recipe.learning_rate)[-1][1]
    return recipe.steps if last == -1 else min(recipe.steps, last)


def learning_rate_advice(recipe: Recipe) -> str | None:
    """Warn of a learning rate so low that the vectors stay where they are."""
    way = sum(learning_rate_at(recipe, step) for step in range(1, last_step(recipe) + 1))
    if recipe.optimizer == "adamw" and way < USUAL_NUMBER / 2:
        return (
            "The learning rate is too low: AdamW moves a number of a vector by at most the rate in "
            f"a step, {way:.2g} in all of this run, and those numbers are about {USUAL_NUMBER:g}. "
            "Hardly anything will be learned; 5e-4 to 5e-3 are usual."
        )
    if recipe.optimizer == "directional" and way < LEAST_TURN:
        return (
            f"The learning rate is too low: in all of this run a vector turns by at most {way:.2g} "
            "radians. Hardly anything will be learned; 0.04 to 0.08 are usual."
        )
    return None
