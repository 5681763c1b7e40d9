"""What decides a training run beside its pictures: the recipe, each setting declared once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePath
from typing import Any, Literal

from webui.declarations import Declaration, declarations_of, declared
from webui.errors import BadField
from webui.training.stages import stages_of

USUAL_NUMBER = 0.014
"""Root mean square of the numbers of a word's vector in Stable Diffusion 1.x."""
LEAST_TURN = 0.1
"""Radians: words that lie so near to each other cannot be told apart in a picture."""


@dataclass(frozen=True, kw_only=True)
class Setting(Declaration):
    """What is known of a setting of a recipe, or of a job, beside its value."""

    kohya: str = ""
    """Key of Kohya's scripts that means the same."""
    api: str = ""
    """Name in A1111's API, where it has one."""
    old: tuple[str, ...] = ()
    """Names that earlier versions wrote into files; they are still read."""
    page: Literal["settings", "advanced", "own"] = "advanced"
    """The page's accordion that it stands in; own = its control is made by hand."""
    slider: tuple[float, float, float] | None = None
    """Least, most and step of a slider, where not all of the range is useful."""


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


def _templates(lines: tuple[str, ...]) -> tuple[str, ...]:
    stages_of(lines)
    return lines


def _positions(values: tuple[float, ...]) -> tuple[float, ...]:
    for value in values:
        if value != -1 and not 0 <= value <= 1:
            raise ValueError(f"The crop position {value:g} is neither -1 nor from 0 to 1.")
    return values


@dataclass(frozen=True)
class Recipe:
    """How vectors are learned; equal recipe, pictures, model and machine give an equal file.

    Page, API, TOML, Kohya's configurations, the command line and the table in docs/training.md
    follow from these declarations. Raises BadField for values that cannot be used.
    """

    # fmt: off
    steps: int = declared(
        500,
        Setting(
            label="Steps", low=1, high=20000, kohya="max_train_steps", page="settings",
            help="Updates of the vectors.",
        ),
    )
    vectors: int = declared(
        0,
        Setting(
            label="Vectors", note="0 = by the initializer", low=0, high=16,
            kohya="num_vectors_per_token", api="num_vectors_per_token", page="settings",
            help="Token positions the embedding takes; 0 = one per token of the initializer, 4 at "
            "most. More hold more detail, and are harder to combine with other words.",
        ),
    )
    batch_size: int = declared(
        4,
        Setting(
            label="Batch size", low=1, high=64, kohya="train_batch_size", old=("batch",),
            page="settings",
            help="Samples computed together.",
        ),
    )
    learning_rate: str = declared(
        "0.04",
        Setting(
            before=_as_text, after=_learning_rate,
            label="Learning rate", kohya="learning_rate", api="learn_rate", old=("rate",),
            page="settings",
            help="Radians in a step for directional; a number or a schedule `0.005:100, 1e-3:1000` "
            "(rate until step). Never scaled by batch or accumulation.",
        ),
    )
    prior_weight: float = declared(
        0.0001,
        Setting(
            label="Likeness ↔ flexibility", low=0, high=1, old=("pull",), page="settings",
            slider=(0.0, 0.0005, 5e-05),
            help="Directional: how strongly the vectors are pulled back to the initializer, beside "
            "gradients of length 1e-3. 0 = closest likeness; more, up to 5e-4, follows the "
            "rest of the prompt better.",
        ),
    )
    seed: int = declared(
        0,
        Setting(
            label="Seed", low=0, high=2**63 - 1, kohya="seed", page="settings",
            help="Decides every draw: order of the images, captions, noise, timesteps.",
        ),
    )
    kind: str = declared(
        "object",
        Setting(
            label="What is learned",
            choices={
                "object": "an object",
                "style": "a style",
                "negative": "a fault (for the negative prompt)",
            },
            page="settings",
            help="Decides which sentences captions are made of: object, style or negative.",
        ),
    )
    caption_mode: str = declared(
        "templates",
        Setting(
            label="Captions",
            choices={
                "templates": "sentences around the name",
                "filewords": "sentences with each image's .txt file or name",
                "files": "only the .txt files",
            },
            old=("captions",), page="settings",
            help="What captions are made of: sentences around the name (templates), the same "
            "with the text file of each image, or its name (filewords), or only that text, which "
            "must hold the name or `[name]` (files).",
        ),
    )
    buckets: bool = declared(
        False,
        Setting(
            label="Aspect-ratio buckets", kohya="enable_bucket", api="varsize", page="settings",
            help="Images are not cut to squares: each to the nearest of several sizes that have "
            "the square's area at most, and every batch is of one size.",
        ),
    )
    tensorboard: bool = declared(
        False,
        Setting(
            label="Log to TensorBoard", page="settings",
            help="The run's numbers are also written for TensorBoard, where it is installed.",
        ),
        compare=False,
    )
    optimizer: str = declared(
        "directional",
        Setting(
            label="Optimizer", choices=("directional", "adamw"),
            help="directional: the norm is held and only the direction learned, which keeps "
            "prompts editable (Directional Textual Inversion, arXiv 2512.13672); adamw: "
            "classic textual inversion.",
        ),
    )
    lr_scheduler: str = declared(
        "cosine",
        Setting(
            before=_scheduler,
            label="Learning rate scheduler", choices=("cosine", "constant"), old=("cosine",),
            help="Whether the learning rate falls to zero along a cosine until the last step.",
        ),
    )
    warmup_steps: int = declared(
        10,
        Setting(
            label="Warmup steps", low=0, high=20000, kohya="lr_warmup_steps", old=("warmup",),
            help="Steps over which the learning rate rises from nothing.",
        ),
    )
    gradient_accumulation_steps: int = declared(
        1,
        Setting(
            label="Gradient accumulation steps", low=1, high=64,
            kohya="gradient_accumulation_steps", api="gradient_step", old=("accumulation",),
            help="Batches per update; saves memory at the price of time.",
        ),
    )
    max_grad_norm: float = declared(
        0.0,
        Setting(
            label="Max grad norm", low=0, high=1000, kohya="max_grad_norm", old=("clip",),
            help="AdamW: gradients are clipped to this norm; 0 = they are not.",
        ),
    )
    min_snr_gamma: float = declared(
        0.0,
        Setting(
            label="Min-SNR gamma", low=0, high=100, kohya="min_snr_gamma", old=("min_snr",),
            help="Weight of the loss at little noise is cut as in Min-SNR (arXiv 2303.09556), "
            "usually 5; 0 = plain loss.",
        ),
    )
    guidance_scale: float = declared(
        0.0,
        Setting(
            label="CFG scale in training", note="0 = none", low=0, high=30,
            help="For negatives: the loss is taken after guidance of this scale, from the name in "
            "the negative prompt to what the text file or the name of each image says. The images "
            "are then good ones, and the initializer is a word that says little, such as "
            "“picture”.",
        ),
    )
    noise_offset: float = declared(
        0.0,
        Setting(
            label="Noise offset", low=0, high=1, kohya="noise_offset",
            help="How strongly the noise of each step is also made brighter or darker as a whole, "
            "so that very light and very dark images are learned; 0.05 to 0.1 are usual.",
        ),
    )
    mixed_precision: str = declared(
        "auto",
        Setting(
            label="Mixed precision", choices=("auto", "fp32", "bf16", "fp16"), old=("precision",),
            help="What a UNet that was loaded in float32 computes in; auto = bf16 where the device "
            "is made for it. The vectors and the loss are always float32.",
        ),
    )
    gradient_checkpointing: bool = declared(
        False,
        Setting(
            label="Gradient checkpointing", kohya="gradient_checkpointing",
            help="Computes parts twice to save memory: a third more time, about 0.5 GiB less per "
            "sample.",
        ),
    )
    lora_rank: int = declared(
        0,
        Setting(
            label="LoRA rank", note="0 = none", low=0, high=128, kohya="network_dim",
            help="A LoRA of the UNet is learned beside the vectors (pivotal tuning), of this rank: "
            "for what no words reach. It is a file of some MB more. 4 to 16 are usual.",
        ),
    )
    lora_learning_rate: float = declared(
        1e-4,
        Setting(
            label="LoRA learning rate", low=1e-7, high=0.1, kohya="unet_lr",
            help="AdamW's rate for the LoRA; it warms up and falls with that of the vectors.",
        ),
    )
    lora_layers: str = declared(
        "attention",
        Setting(
            label="LoRA layers",
            choices={"attention": "all attention", "words": "attention to the words"},
            help="What of the UNet the LoRA changes: all its attention (attention), or only where "
            "it looks at the prompt (words).",
        ),
    )
    templates: tuple[str, ...] = declared(
        (),
        Setting(
            after=_templates,
            label="Caption templates",
            help="Sentences of one's own with `[name]` and maybe `[filewords]`; none = those for "
            "what is learned. A line like `# 40 %` begins a stage: so much of the run has the "
            "sentences below it.",
        ),
    )
    continue_from: str = declared(
        "",
        Setting(
            label="Continue from", kohya="weights",
            help="Name of an embedding that the run starts from in place of the initializer's "
            "words, ours or another program's; on this machine also its file. It has as many "
            "vectors as that.",
        ),
    )
    append_initializer: bool = declared(
        False,
        Setting(
            label="Append initializer",
            help="The initializer follows the name in each caption (\"a photo of NAME person\").",
        ),
    )
    caption_dropout: float = declared(
        0.0,
        Setting(
            label="Caption dropout", low=0, high=1,
            help="Share of the samples whose caption is the name alone.",
        ),
    )
    tag_dropout: float = declared(
        0.0,
        Setting(
            label="Tag dropout", low=0, high=1, kohya="caption_tag_dropout_rate",
            api="tag_drop_out",
            help="Share of the tags (between commas) of an image's text that are left out each "
            "time; never the one that holds the name.",
        ),
    )
    shuffle_tags: bool = declared(
        False,
        Setting(
            label="Shuffle tags", kohya="shuffle_caption", api="shuffle_tags",
            help="The tags of an image's text come in another order each time.",
        ),
    )
    resolution: int = declared(
        0,
        Setting(
            label="Resolution", low=0, high=2048, old=("size",),
            help="Side of the square training images in pixels, a multiple of 64 for most "
            "models; 0 = the side the model was made for.",
        ),
    )
    crops: int = declared(
        1,
        Setting(
            label="Crops per image", low=1, high=8,
            help="The image's own crop first, then random ones (for styles).",
        ),
    )
    crop_positions: tuple[float, ...] = declared(
        (),
        Setting(
            after=_positions,
            label="Crop positions", old=("places",), page="own",
            help="Where along its long side each image is cut, 0 (left or top) to 1 (right or "
            "bottom), in the order of the images; -1, and those left out = where it has "
            "most detail. With buckets the same of the side that is cut.",
        ),
    )
    flip: bool = declared(
        False,
        Setting(
            label="Flip", kohya="flip_aug",
            help="Mirrored images are added; wrong for writing and asymmetric things.",
        ),
    )
    use_mask: bool = declared(
        True,
        Setting(
            label="Use mask", api="use_weight",
            help="Transparent parts of an image are not learned.",
        ),
    )
    background: str = declared(
        "ignored",
        Setting(
            label="Background", choices={"ignored": "does not count", "plain": "made plain"},
            help="What a mask leaves out: it does not count, or a plain colour takes its place, "
            "another one for each image, so that the thing's outline is learned too.",
        ),
    )
    find_thing: bool = declared(
        False,
        Setting(
            label="Find the thing",
            help="Images without a mask get one: what of them the model looks at for the "
            "initializer.",
        ),
    )
    evaluate_every: int = declared(
        25,
        Setting(
            label="Evaluate every", low=1, high=20000, kohya="save_every_n_steps",
            api="save_embedding_every",
            help="Steps between evaluations, each kept as a checkpoint that can be installed.",
        ),
    )
    evaluation_tuples: int = declared(
        16,
        Setting(
            label="Evaluation tuples", low=2, high=256,
            help="Fixed (image, noise, timestep) tuples per evaluation; the final one takes "
            "twice as many.",
        ),
    )
    hold_out: bool = declared(
        True,
        Setting(
            label="Hold out",
            help="One image is kept from training, to tell learning from memorising (from five "
            "images on).",
        ),
    )
    leave_one_out: int = declared(
        2,
        Setting(
            label="Leave out in turn", low=0, high=4,
            help="Where the held-out image says too little, the run is done again so often without "
            "another one, before the report; 0 = never.",
        ),
    )
    stop_early: bool = declared(
        False,
        Setting(
            label="Stop early",
            help="The run ends when the evaluations no longer move (DVAR, arXiv 2302.04841); for a "
            "constant learning rate.",
        ),
    )
    preview_every: int = declared(
        100,
        Setting(
            label="Preview every", low=0, high=20000, kohya="sample_every_n_steps",
            api="create_image_every",
            help="Steps between previews; 0 = none.",
        ),
    )
    preview_prompts: tuple[str, ...] = declared(
        ("a photo of [name]", "[name] in the snow"),
        Setting(
            label="Preview prompts",
            help="Prompts of the previews, with `[name]`. Of a fault's those without it are drawn "
            "with the name in the negative prompt.",
        ),
    )

    # fmt: on

    def __post_init__(self) -> None:
        for name, setting in SETTINGS.items():
            object.__setattr__(self, name, setting.check(getattr(self, name)))

    @property
    def guided(self) -> bool:
        """Whether a negative is learned from good images, in its place beside their prompts."""
        return self.kind == "negative" and self.guidance_scale > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON can hold it."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    def decisive(self) -> dict[str, Any]:
        """Return the settings that decide what is learned, as JSON can hold them."""
        # the embedding tells which one it came from, and nothing of the folders it lay in
        values = self.to_dict() | {"continue_from": PurePath(self.continue_from).stem}
        return {item.name: values[item.name] for item in fields(self) if item.compare}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from ``to_dict``'s answer, of earlier versions too.

        BadField names a key that does not exist.
        """
        found = by_current_names(SETTINGS, values)
        for key in found:
            if key not in SETTINGS:
                raise BadField(key, f"A recipe has no setting “{key}”.")
        return cls(**found)


SETTINGS = declarations_of(Recipe, Setting)


def by_current_names(settings: Mapping[str, Setting], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with their settings' names in place of those of earlier versions."""
    now = {old: name for name, setting in settings.items() for old in setting.old}
    return {now.get(key, key): value for key, value in values.items()}


def learning_rate_at(recipe: Recipe, step: int) -> float:
    """Return the learning rate of ``step``, counted from 1 to ``last_step(recipe)``."""
    pieces = parse_learning_rate(recipe.learning_rate)
    base = next(rate for rate, last in pieces if last == -1 or step <= last)
    return base * _schedule_at(recipe, step)


def lora_learning_rate_at(recipe: Recipe, step: int) -> float:
    """Return the LoRA's learning rate of ``step``, as ``learning_rate_at``."""
    return recipe.lora_learning_rate * _schedule_at(recipe, step)


def _schedule_at(recipe: Recipe, step: int) -> float:
    """Return what a rate is multiplied by at a step: how warm it is, and how far it has fallen."""
    warm = min(1.0, step / (recipe.warmup_steps + 1))
    if recipe.lr_scheduler == "constant":
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * (step - 1) / last_step(recipe)))


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
