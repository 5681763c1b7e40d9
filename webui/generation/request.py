"""The request for pictures: all that decides what they look like, each field declared once.

From the declarations follow the checks here, the page's controls, what a browser remembers, the
API's fields, the parameters text in pictures, axes of plots and the table in docs/txt2img.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from webui.declarations import Declaration, declarations_of, declared
from webui.errors import BadField
from webui.generation.sampling.noise import RNG_SOURCES
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES
from webui.generation.upscaling import UPSCALERS, upscaler_name

EMPHASES: Mapping[str, str] = {
    "Original": "original",
    "No norm": "no_norm",
    "Ignore": "ignore",
    "None": "none",
    "ComfyUI": "comfy",
}
"""The ways in which weights can act, by AUTOMATIC1111's names, and as the prompt language's."""
SIZE_STEP = 8
"""Width and height are multiples of this many pixels (one latent)."""
MIN_SIZE, MAX_SIZE = 64, 2048
MAX_HIRES_SIZE = 4096
"""Longest side in pixels after the second pass."""
MAX_BATCH_PIXELS = MAX_HIRES_SIZE * MAX_HIRES_SIZE
"""Pixels of the images of a batch together."""
MAX_STEPS = 150
MAX_SEED = 2**32 - 1
MAX_PROMPT = 20_000
"""Longest prompt in characters."""
MAX_PATTERN = 500
"""Longest pattern of names in characters."""
PROMPTS = ("prompt", "negative_prompt", "hires_prompt", "hires_negative_prompt")
"""The fields that are prompts."""
HIRES, EXTRA, PROMPT_PARSING = "Hires. fix", "Extra (variation seed)", "Prompt parsing"
SAMPLING, SAVING = "Sampler settings", "Saving"
"""The sections of the page's controls, besides the main one."""
SAME_SAMPLER, SAME_SCHEDULE = "Use same sampler", "Use same scheduler"
"""What AUTOMATIC1111 calls the first pass's sampler and schedule type in the second."""


@dataclass(frozen=True, kw_only=True)
class RequestField(Declaration):
    """What is known of a field of a request beside its value."""

    section: str = ""
    """Where its control stands; "" among those that are always seen."""
    explained: bool = False
    """Whether the page shows the help at the control."""
    acts_if: str = ""
    """Field or property of the request without which this one has no effect."""
    from_model: bool = False
    """Whether a checkpoint may recommend a value."""
    random: bool = False
    """Whether -1 draws a value."""
    infotext: str = ""
    """Key in the parameters text; fields of one key are written as one, ``512x768``."""
    infotext_aliases: tuple[str, ...] = ()
    """What other programs call that key."""
    infotext_word: str = ""
    """What the parameters text says where a checkbox is ticked."""
    always_written: bool = False
    """Whether the default, too, is written into the parameters text."""
    api: str | None = ""
    """Name in A1111's API, "" if it is the field's own; None if it is not there."""
    option: str = ""
    """Name among A1111's options, where it is one."""
    axis: bool = False
    """Whether plots have an axis of it, called by its key."""
    axis_name: str = ""
    """What AUTOMATIC1111 calls the axis, where that is not its key."""

    @property
    def api_name(self) -> str | None:
        """The name in A1111's API, None if it is not there."""
        return self.name if self.api == "" else self.api


def _off_if_negative(value: Any) -> Any:
    """Return 0 for the -1 by which clients of A1111's API say that a size is not set."""
    return 0 if str(value) == "-1" else value


@dataclass(frozen=True)
class GenerationRequest:
    """Equal requests with equal files give equal pictures (once the seed is not -1).

    The fields stand in the order in which the parameters text has them.
    """

    # fmt: off
    prompt: str = declared(
        "",
        RequestField(label="Prompt", help="What the image should show.", max_length=MAX_PROMPT),
    )
    negative_prompt: str = declared(
        "",
        RequestField(
            label="Negative prompt", help="What it should not show.", max_length=MAX_PROMPT
        ),
    )
    steps: int = declared(
        20,
        RequestField(
            label="Steps", help="Sampling steps.", low=1, high=MAX_STEPS,
            from_model=True, infotext="Steps", always_written=True, axis=True,
        ),
    )
    sampler: str = declared(
        "DPM++ 2M",
        RequestField(
            label="Sampling method", help="How noise is taken out of the image.", choices=SAMPLERS,
            from_model=True, infotext="Sampler", always_written=True, api="sampler_name",
        ),
    )
    schedule_type: str = declared(
        "Automatic",
        RequestField(
            label="Schedule type", help="How noisy each step is.", choices=SCHEDULE_TYPES,
            from_model=True, infotext="Schedule type", always_written=True, api="scheduler",
            axis=True,
        ),
    )
    cfg_scale: float = declared(
        7.0,
        RequestField(
            label="CFG scale", help="Classifier-free guidance: 1 is off, 4 to 10 is usual.",
            low=1, high=30, step=0.5,
            from_model=True, infotext="CFG scale", always_written=True, axis=True,
            axis_name="CFG Scale",
        ),
    )
    seed: int = declared(
        -1,
        RequestField(
            label="Seed", note="−1 = random", help="That of the first image; the next count up.",
            low=-1, high=MAX_SEED, random=True, infotext="Seed", always_written=True, axis=True,
        ),
    )
    width: int = declared(
        512,
        RequestField(
            label="Width", help="In pixels.", low=MIN_SIZE, high=MAX_SIZE, step=SIZE_STEP,
            multiple_of=SIZE_STEP, from_model=True, infotext="Size", always_written=True,
        ),
    )
    height: int = declared(
        512,
        RequestField(
            label="Height", help="In pixels.", low=MIN_SIZE, high=MAX_SIZE, step=SIZE_STEP,
            multiple_of=SIZE_STEP, from_model=True, infotext="Size", always_written=True,
        ),
    )
    batch_count: int = declared(
        1,
        RequestField(
            label="Batch count", help="Batches generated one after the other.", low=1, high=100,
            api="n_iter",
        ),
    )
    batch_size: int = declared(
        1, RequestField(label="Batch size", help="Images generated at once.", low=1, high=8)
    )
    subseed: int = declared(
        -1,
        RequestField(
            label="Variation seed", note="−1 = random", help="The seed of a second noise. With it "
            "all images share the seed, and the variation seeds count up.",
            low=-1, high=MAX_SEED, random=True, section=EXTRA, acts_if="subseed_strength",
            infotext="Variation seed", axis=True, axis_name="Var. seed",
        ),
    )
    subseed_strength: float = declared(
        0.0,
        RequestField(
            label="Variation strength", help="How far from the seed's image to the variation "
            "seed's; 0.05 to 0.3 give close variations.", explained=True,
            low=0, high=1, step=0.01, section=EXTRA, infotext="Variation seed strength",
            infotext_aliases=("Variation strength",), axis=True, axis_name="Var. strength",
        ),
    )
    resized_from_width: int = declared(
        0,
        RequestField(
            label="Resize seed from width", note="0 = off", help="The noise of an image of this "
            "size is put into the middle, so that a seed gives a similar image at another size.",
            low=0, high=MAX_SIZE, step=SIZE_STEP, before=_off_if_negative, section=EXTRA,
            infotext="Seed resize from", api="seed_resize_from_w",
        ),
    )
    resized_from_height: int = declared(
        0,
        RequestField(
            label="Resize seed from height", note="0 = off", help="In pixels, likewise.",
            low=0, high=MAX_SIZE, step=SIZE_STEP, before=_off_if_negative, section=EXTRA,
            infotext="Seed resize from", api="seed_resize_from_h",
        ),
    )
    hires: bool = declared(
        False,
        RequestField(
            label="Hires. fix", help="Enlarge the image and draw over it in a second pass.",
            explained=True, section=HIRES, api="enable_hr",
        ),
    )
    denoising_strength: float = declared(
        0.7,
        RequestField(
            label="Denoising strength", help="How far the second pass goes back into noise: 0 "
            "changes nothing. Latent upscalers need 0.5 or more; the others are good from 0.3.",
            explained=True, low=0, high=1, step=0.01, section=HIRES, acts_if="hires",
            infotext="Denoising strength",
            infotext_aliases=("Hires strength",), always_written=True,
            axis=True, axis_name="Denoising",
        ),
    )
    clip_skip: int = declared(
        1,
        RequestField(
            label="Clip skip", help="1 uses the text encoder's last layer, 2 the one before.",
            low=1, high=12, infotext="Clip skip", option="CLIP_stop_at_last_layers", axis=True,
        ),
    )
    eta_seed_delta: int = declared(
        0,
        RequestField(
            label="Eta noise seed delta", help="Added to the seed for the noise of ancestral "
            "samplers in each step.", low=0, high=MAX_SEED, section=SAMPLING, infotext="ENSD",
            api=None, option="eta_noise_seed_delta",
        ),
    )
    rng: str = declared(
        "GPU",
        RequestField(
            label="Random number generator", help="Where noise comes from. GPU and NV draw as an "
            "NVIDIA card does, on every machine; CPU draws as torch does.", explained=True,
            choices=RNG_SOURCES, section=SAMPLING, infotext="RNG", api=None,
            option="randn_source", axis=True, axis_name="RNG source",
        ),
    )
    hires_sampler: str = declared(
        SAME_SAMPLER,
        RequestField(
            label="Hires sampling method", help="That of the second pass.",
            choices=(SAME_SAMPLER, *SAMPLERS), section=HIRES, acts_if="hires",
            infotext="Hires sampler", api="hr_sampler_name",
        ),
    )
    hires_prompt: str = declared(
        "",
        RequestField(
            label="Hires prompt", note="empty = same", help="What the second pass draws.",
            max_length=MAX_PROMPT, section=HIRES, acts_if="hires", infotext="Hires prompt",
            api="hr_prompt",
        ),
    )
    hires_negative_prompt: str = declared(
        "",
        RequestField(
            label="Hires negative prompt", note="empty = same", help="What it should not draw.",
            max_length=MAX_PROMPT, section=HIRES, acts_if="hires",
            infotext="Hires negative prompt", api="hr_negative_prompt",
        ),
    )
    hires_schedule_type: str = declared(
        SAME_SCHEDULE,
        RequestField(
            label="Hires schedule type", help="That of the second pass.",
            choices=(SAME_SCHEDULE, *SCHEDULE_TYPES), section=HIRES, acts_if="hires",
            infotext="Hires schedule type", api="hr_scheduler", axis=True,
        ),
    )
    hires_cfg_scale: float = declared(
        0.0,
        RequestField(
            label="Hires CFG scale", note="0 = same", help="That of the second pass.",
            low=0, high=30, step=0.5, section=HIRES, acts_if="hires",
            infotext="Hires CFG Scale",
            infotext_aliases=("Hires CFG scale",), api="hr_cfg", axis=True,
        ),
    )
    hires_scale: float = declared(
        2.0,
        RequestField(
            label="Upscale by", help="How many times larger; acts while both sides are 0.",
            low=1, high=4, step=0.05, section=HIRES, acts_if="hires_by_scale",
            infotext="Hires upscale",
            infotext_aliases=("Hires scale",), always_written=True, api="hr_scale", axis=True,
        ),
    )
    hires_width: int = declared(
        0,
        RequestField(
            label="Resize width to", note="0 = use factor", help="In pixels; with one side 0 the "
            "proportions stay, with both the image is cut to fit.",
            low=0, high=MAX_HIRES_SIZE, step=SIZE_STEP, multiple_of=SIZE_STEP, section=HIRES,
            acts_if="hires", infotext="Hires resize",
            infotext_aliases=("Hires fixed",), api="hr_resize_x",
        ),
    )
    hires_height: int = declared(
        0,
        RequestField(
            label="Resize height to", note="0 = use factor", help="In pixels, likewise.",
            low=0, high=MAX_HIRES_SIZE, step=SIZE_STEP, multiple_of=SIZE_STEP, section=HIRES,
            acts_if="hires", infotext="Hires resize",
            infotext_aliases=("Hires fixed",), api="hr_resize_y",
        ),
    )
    hires_steps: int = declared(
        0,
        RequestField(
            label="Hires steps", note="0 = same", help="Steps of the second pass, all of them "
            "carried out.", low=0, high=MAX_STEPS, section=HIRES, acts_if="hires",
            infotext="Hires steps", api="hr_second_pass_steps", axis=True,
        ),
    )
    hires_upscaler: str = declared(
        "Latent",
        RequestField(
            label="Upscaler", help="What enlarges the image: its latents, its pixels, or a network "
            "of models/ESRGAN.", choices=UPSCALERS, more_choices=True, before=upscaler_name,
            max_length=300, section=HIRES, acts_if="hires", infotext="Hires upscaler",
            always_written=True, api="hr_upscaler", axis=True,
        ),
    )
    emphasis: str = declared(
        "Original",
        RequestField(
            label="Emphasis", help="How weights such as (word:1.2) act.", explained=True,
            choices=EMPHASES, section=PROMPT_PARSING, infotext="Emphasis", api=None,
            option="emphasis", axis=True,
        ),
    )
    match_anywhere: bool = declared(
        False,
        RequestField(
            label="Find names of embeddings inside other words", help="As AUTOMATIC1111 "
            "does.", section=PROMPT_PARSING, infotext="Embedding names", infotext_word="anywhere",
            api=None,
        ),
    )
    early_schedules: bool = declared(
        False,
        RequestField(
            label="Switch [a:b:10] and [a|b] one step earlier", help="After as many steps as they "
            "say; AUTOMATIC1111 draws one more before.",
            section=PROMPT_PARSING, infotext="Prompt schedules", infotext_word="early", api=None,
        ),
    )
    old_timelines: bool = declared(
        False,
        RequestField(
            label="Old prompt editing timelines", help="Read [a:b:n] as AUTOMATIC1111 did before "
            "1.6: n below 1 is a part of the steps, and the second pass of hires. fix begins anew.",
            section=PROMPT_PARSING, infotext="Old prompt editing timelines", infotext_word="True",
            api=None, option="use_old_scheduling",
        ),
    )
    pad_prompts: bool = declared(
        False,
        RequestField(
            label="Pad prompt and negative prompt to one length", help="Both go through the model "
            "at once, which is faster where one of them is longer; the image is another one.",
            section=PROMPT_PARSING, infotext="Pad conds", infotext_word="True", api=None,
            option="pad_cond_uncond",
        ),
    )
    eta: float | None = declared(
        None,
        RequestField(
            label="Eta", note="the sampler's own", help="Multiplies the noise that "
            "ancestral and SDE samplers (1 is usual) and DDIM (0) add in each step.",
            low=0, high=1, step=0.05, section=SAMPLING, infotext="Eta", axis=True,
        ),
    )
    churn: float = declared(
        0.0,
        RequestField(
            label="Sigma churn", help="Noise that Euler, Heun and DPM2 add before each step.",
            low=0, high=100, step=0.1, section=SAMPLING, infotext="Sigma churn", api="s_churn",
            axis=True,
        ),
    )
    churn_low: float = declared(
        0.0,
        RequestField(
            label="Sigma tmin", help="The lowest noise level at which churn acts.",
            low=0, high=10, step=0.1, section=SAMPLING, infotext="Sigma tmin", api="s_tmin",
            axis=True, axis_name="Sigma min",
        ),
    )
    churn_high: float = declared(
        0.0,
        RequestField(
            label="Sigma tmax", note="0 = any", help="The highest noise level at which it acts.",
            low=0, high=999, step=0.1, section=SAMPLING, infotext="Sigma tmax", api="s_tmax",
            axis=True, axis_name="Sigma max",
        ),
    )
    noise_strength: float = declared(
        1.0,
        RequestField(
            label="Sigma noise", help="Multiplies the noise of churn and of samplers with SDE, of "
            "DPM2 a, DPM++ 2S a and DPM fast.",
            low=0, high=1.1, step=0.01, section=SAMPLING, infotext="Sigma noise", api="s_noise",
            axis=True,
        ),
    )
    leave_out_last_but_one: bool = declared(
        False,
        RequestField(
            label="Leave out the last noise level but one", help="For every sampler, not only "
            "DPM2, DPM2 a and DPM++ 3M SDE.", section=SAMPLING,
            infotext="Discard penultimate sigma", infotext_word="True", api=None,
            option="always_discard_next_to_last_sigma", axis=True,
            axis_name="Always discard next-to-last sigma",
        ),
    )
    full_noise: bool = declared(
        False,
        RequestField(
            label="SGM noise multiplier", help="Begin with as much noise as SDXL's own program.",
            section=SAMPLING, infotext="SGM noise multiplier", infotext_word="True", api=None,
            option="sgm_noise_multiplier", axis=True,
        ),
    )
    half_alphas: bool = declared(
        False,
        RequestField(
            label="Noise levels in half precision", help="As AUTOMATIC1111 had them before 1.8.",
            section=SAMPLING, infotext="Downcast alphas_cumprod", infotext_word="True", api=None,
            option="use_downcasted_alpha_bar",
        ),
    )
    styles: tuple[str, ...] = declared(
        (),
        RequestField(
            label="Styles", help="Names of styles, applied in this order when drawing starts."
        ),
    )
    save_grid: bool = declared(
        False,
        RequestField(
            label="Save grid", help="Also save the images of a request side by side, as "
            "grid-*.png.", explained=True, section=SAVING, api=None,
        ),
    )
    save_jpg: bool = declared(
        False,
        RequestField(
            label="Save JPG copy", help="Also save each image as .jpg beside the .png, with its "
            "parameters.", explained=True, section=SAVING, api=None,
        ),
    )
    save_txt: bool = declared(
        False,
        RequestField(
            label="Save parameters as .txt", help="Also save each image's parameters as .txt "
            "beside it.", explained=True, section=SAVING, api=None,
        ),
    )
    file_pattern: str = declared(
        "",
        RequestField(
            label="Images filename pattern", note="empty = as started", help="What stands behind "
            "an image's number, such as [seed]-[prompt_spaces].", explained=True,
            max_length=MAX_PATTERN, section=SAVING, api=None,
        ),
    )
    folder_pattern: str = declared(
        "",
        RequestField(
            label="Directory name pattern", note="empty = as started", help="The folders of images "
            "and grids, such as [model_name]/[date].", explained=True,
            max_length=MAX_PATTERN, section=SAVING, api=None,
        ),
    )
    # fmt: on

    @property
    def pictures(self) -> int:
        """How many pictures will be made."""
        return self.batch_size * self.batch_count

    @property
    def second_steps(self) -> int:
        """Steps of the second pass, 0 without one."""
        if not self.hires or self.denoising_strength == 0:
            return 0
        return self.hires_steps or self.steps

    @property
    def second_pass(self) -> GenerationRequest:
        """What the second pass is drawn with: its own settings in the place of the first's."""
        return replace(
            self,
            prompt=self.hires_prompt or self.prompt,
            negative_prompt=self.hires_negative_prompt or self.negative_prompt,
            sampler=self.sampler if self.hires_sampler == SAME_SAMPLER else self.hires_sampler,
            schedule_type=self.schedule_type
            if self.hires_schedule_type == SAME_SCHEDULE
            else self.hires_schedule_type,
            cfg_scale=self.hires_cfg_scale or self.cfg_scale,
        )

    @property
    def all_steps(self) -> int:
        """Steps of all batches and passes together."""
        return (self.steps + self.second_steps) * self.batch_count

    @property
    def hires_by_scale(self) -> bool:
        """Whether a second pass enlarges by a factor."""
        return self.hires and not (self.hires_width or self.hires_height)

    @property
    def hires_size(self) -> tuple[int, int]:
        """Width and height in pixels after the second pass, multiples of ``SIZE_STEP``."""
        width: float = self.hires_width
        height: float = self.hires_height
        if not (width or height):
            width, height = self.width * self.hires_scale, self.height * self.hires_scale
        elif not height:
            height = width * self.height / self.width
        elif not width:
            width = height * self.width / self.height
        return int(width) // SIZE_STEP * SIZE_STEP, int(height) // SIZE_STEP * SIZE_STEP


FIELDS: Mapping[str, RequestField] = declarations_of(GenerationRequest, RequestField)
"""The declaration of each field of a request by its name."""


def acts(field: RequestField, request: GenerationRequest) -> bool:
    """Return whether a field has an effect on a request's pictures."""
    return not field.acts_if or bool(getattr(request, field.acts_if))


def checked(request: GenerationRequest) -> GenerationRequest:
    """Return the request with a drawn seed in place of -1.

    Fields without effect are left as they are. Raises BadField with the first field that cannot
    be used.
    """
    if not request.prompt.strip():
        raise BadField("prompt", "The prompt is empty. Write what the image should show.")
    values: dict[str, Any] = {}
    for field in FIELDS.values():
        if acts(field, request):
            values[field.name] = field.check(getattr(request, field.name))
        if field.random and getattr(request, field.name) == -1:
            values[field.name] = secrets.randbelow(MAX_SEED + 1)
    request = replace(request, **values)
    if request.hires:
        _check_hires_size(request)
    width, height = request.hires_size if request.hires else (request.width, request.height)
    if request.batch_size * max(width * height, request.width * request.height) > MAX_BATCH_PIXELS:
        raise BadField(
            "batch_size",
            f"{request.batch_size} images of {width}×{height} at once are too much. Choose a "
            "smaller batch size or smaller images, and a larger batch count.",
        )
    return request


def default_request(defaults: Mapping[str, Any], **changes: Any) -> GenerationRequest:
    """Return a request with what a checkpoint's defaults recommend, and ``changes`` on top."""
    hints = {
        name: defaults[name]
        for name, field in FIELDS.items()
        if field.from_model
        if name in defaults
    }
    return GenerationRequest(**(hints | changes))


def _check_hires_size(request: GenerationRequest) -> None:
    """Raise BadField for a size after the second pass that is not to be had."""
    width, height = request.hires_size
    if max(width, height) <= MAX_HIRES_SIZE and min(width, height) >= MIN_SIZE:
        return
    sides = (name for name in ("hires_width", "hires_height") if getattr(request, name))
    raise BadField(
        next(sides, "hires_scale"),
        f"The image would become {width}×{height}; its sides must be between {MIN_SIZE} and "
        f"{MAX_HIRES_SIZE}.",
    )
