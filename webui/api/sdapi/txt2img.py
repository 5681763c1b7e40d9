"""A1111's request for pictures as ours, and our pictures as its answer."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ConfigDict, Field, create_model

from webui import __version__
from webui.api.sdapi.answers import Question, Shape
from webui.api.sdapi.options import passed_over
from webui.api.sdapi.pictures import to_text
from webui.errors import BadField
from webui.generation.metadata.infotext import read_infotext
from webui.generation.request import FIELDS, GenerationRequest, default_request
from webui.generation.sampling.samplers import (
    split_sampler,
)
from webui.models.model import Model
from webui.studio.jobs import GenerationJob, SavedPicture

LONGEST_INFOTEXT = 100_000
USUAL: Mapping[str, Any] = {"steps": 50, "sampler": "Euler"}
"""A1111's own defaults where they are others than ours."""
API_NAMES = {name: field.api_name for name, field in FIELDS.items() if field.api_name}
"""The names in the body of those fields of a request that it has."""

Body = TypeVar("Body", bound=Shape)


def _with_request_fields(body: type[Body]) -> type[Body]:
    """Return a body that also has the fields of a request; their limits are checked later."""
    made: dict[str, Any] = {}
    for name, theirs in API_NAMES.items():
        field = FIELDS[name]
        limits = {"minimum": field.low, "maximum": field.high, "maxLength": field.max_length}
        shown: dict[str, Any] = {key: limit for key, limit in limits.items() if limit is not None}
        about = f"{field.help} ({field.note})" if field.note else field.help
        made[theirs] = (field.type | None, Field(None, description=about, json_schema_extra=shown))
    return create_model(body.__name__, __base__=body, __doc__=body.__doc__, **made)


@_with_request_fields
class Txt2ImgRequest(Question):
    """What pictures are asked for. What is left out or null is as the checkpoint recommends."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "prompt": "a red heart with white dots on a blue background",
                    "negative_prompt": "",
                    "steps": 20,
                    "sampler_name": "DDIM",
                    "cfg_scale": 4,
                    "width": 256,
                    "height": 256,
                    "seed": 1,
                }
            ]
        },
    )

    sampler_index: str | None = None
    """The sampler under its old name."""
    infotext: str | None = None
    """A parameters text whose settings are used where the request has none."""
    override_settings: dict[str, Any] | None = None
    """Options for this request alone."""
    override_settings_restore_afterwards: bool | None = None
    """False leaves them as they are then; true is usual."""
    send_images: bool | None = None
    """False leaves the pictures out of the answer."""
    save_images: bool | None = None
    """True keeps the pictures in outputs/txt2img."""
    do_not_save_samples: bool | None = None
    do_not_save_grid: bool | None = None
    force_task_id: str | None = None


class Txt2ImgAnswer(Shape):
    """The pictures."""

    images: list[str] = Field(examples=[["iVBORw0KGgo…"]])
    """PNGs in base64, each with its parameters text inside."""
    parameters: dict[str, Any]
    """The request as it was understood."""
    info: str = Field(examples=['{"all_seeds": [1], "infotexts": ["…"]}'])
    """A JSON text: ``all_seeds``, ``all_prompts``, ``infotexts``, ``warnings``, …"""


NOT_HERE: Mapping[str, tuple[object, ...]] = {
    "restore_faces": (False,),
    "tiling": (False,),
    "script_name": ("", "None"),
    "script_args": ([],),
    "alwayson_scripts": ({},),
    "s_min_uncond": (0,),
    "refiner_checkpoint": ("", "None"),
    "firstphase_width": (0,),
    "firstphase_height": (0,),
    "disable_extra_networks": (False,),
    "hr_checkpoint_name": ("", "Use same checkpoint"),
    "init_images": ([],),
    "mask": (),
    "inpainting_fill": (),
    "controlnet_units": ([],),
}
"""What would change the picture and is not to be had, with the values that change nothing."""
PASSED_OVER = frozenset(
    "seed_enable_extras refiner_switch_at comments".split()
    + "hr_additional_modules distilled_cfg_scale hr_distilled_cfg image_cfg_scale".split()
)
"""Fields of A1111 and its kin without effect on the pictures drawn here."""


NO_STYLE = ("", "None")
"""What clients send where no style is chosen."""


def read(body: Txt2ImgRequest, model: Model, options: Mapping[str, Any]) -> GenerationRequest:
    """Return the request of a body.

    ``options`` are those in force. Raises BadField with the name that the field has in the body.
    """
    refuse_unsupported(body)
    given = _from_infotext(body.infotext) | body.model_dump(exclude_none=True)
    changes = {field.name: options[field.option] for field in FIELDS.values() if field.option}
    changes |= {
        name: given[theirs] for name, theirs in API_NAMES.items() if given.get(theirs, "") != ""
    }
    changes |= _sampler(given)
    changes["styles"] = tuple(name for name in given.get("styles") or () if name not in NO_STYLE)
    request = default_request({**USUAL, **model.defaults}, **changes)
    return request


def refuse_unsupported(body: Txt2ImgRequest) -> None:
    """Raise BadField for a field that would change the picture and cannot be honoured."""
    for field, value in (body.model_extra or {}).items():
        if field == "alwayson_scripts" and isinstance(value, dict):
            value = {name: asked for name, asked in value.items() if _acts(asked)}
        if field in NOT_HERE and value is not None and value not in NOT_HERE[field]:
            raise BadField(field, f"“{field}” is not supported by this app; leave it out.")
        near = difflib.get_close_matches(field, Txt2ImgRequest.model_fields, n=1, cutoff=0.85)
        if near and field not in PASSED_OVER and field not in NOT_HERE:
            raise BadField(field, f"There is no field “{field[:60]}”; did you mean “{near[0]}”?")


def _acts(script: Any) -> bool:
    """Whether what is asked of a script is more than that it does nothing."""
    arguments = script.get("args") if isinstance(script, dict) else script
    return arguments not in (None, [], {}, [False])


def ignored(body: Txt2ImgRequest) -> list[str]:
    """Return sentences about fields and options that mean nothing here."""
    known = {*NOT_HERE, *PASSED_OVER}
    unknown = [
        f"The field “{field[:60]}” is not known here and was ignored."
        for field in body.model_extra or {}
        if field not in known and not field.startswith("hr_")
    ]
    return [*unknown, *passed_over(body.override_settings or {})]


def _from_infotext(text: str | None) -> dict[str, Any]:
    """Return the settings of a parameters text by the names of the body."""
    if not text:
        return {}
    if len(text) > LONGEST_INFOTEXT:
        raise BadField(
            "infotext", f"A parameters text has at most {LONGEST_INFOTEXT:,} characters."
        )
    request, _ = read_infotext(text)
    return {
        theirs: getattr(request, name)
        for name, theirs in API_NAMES.items()
        if getattr(request, name) != FIELDS[name].default
    }


def _sampler(given: Mapping[str, Any]) -> dict[str, str]:
    """Return samplers and schedule types of the fields that may name them, for both passes."""
    name = given.get("sampler_name") or given.get("sampler_index")
    changes = _named("sampler", "schedule_type", name, given.get("scheduler"))
    names = given.get("hr_sampler_name"), given.get("hr_scheduler")
    return changes | _named("hires_sampler", "hires_schedule_type", *names)


def _named(
    sampler_field: str, schedule_field: str, sampler: str | None, schedule: str | None
) -> dict[str, str]:
    changes = {}
    if sampler:
        changes[sampler_field], label = split_sampler(sampler)
        if label != "Automatic":
            changes[schedule_field] = label
    if schedule:
        labels = {scheduler_name(label): label for label in FIELDS[schedule_field].choices}
        changes[schedule_field] = labels.get(scheduler_name(schedule), schedule)
    return changes


def scheduler_name(label: str) -> str:
    """Return the name by which clients call a schedule type, e.g. "sgm_uniform"."""
    return label.strip().lower().replace(" ", "_")


def renamed(error: BadField) -> BadField:
    """Return an error of our request under the name that the field has in the body."""
    field = FIELDS.get(error.field)
    name = field and (field.api_name or f"override_settings.{field.option}")
    return BadField(name or error.field, str(error))


def answer(
    body: Txt2ImgRequest,
    job: GenerationJob,
    model: Model,
    pictures: list[tuple[SavedPicture, bytes]],
) -> Txt2ImgAnswer:
    """Return A1111's answer with the files of the pictures."""
    request = job.request
    sent = body.send_images is not False
    known = body.model_dump(include=set(Txt2ImgRequest.model_fields))
    drawn = {theirs: getattr(request, name) for name, theirs in API_NAMES.items()}
    return Txt2ImgAnswer(
        images=[to_text(data) for _, data in pictures] if sent else [],
        parameters=known | drawn,
        info=json.dumps(_info(body, job, model, [saved for saved, _ in pictures])),
    )


def _info(
    body: Txt2ImgRequest, job: GenerationJob, model: Model, pictures: list[SavedPicture]
) -> dict[str, Any]:
    """Return what A1111 tells of a generation; ``warnings`` is our own."""
    request = job.request
    drawn = [saved.request for saved in pictures]
    varied = request.subseed_strength > 0
    return {
        "prompt": drawn[0].prompt if drawn else request.prompt,
        "all_prompts": [own.prompt for own in drawn],
        "negative_prompt": drawn[0].negative_prompt if drawn else request.negative_prompt,
        "all_negative_prompts": [own.negative_prompt for own in drawn],
        "seed": request.seed,
        "all_seeds": [own.seed for own in drawn],
        "subseed": request.subseed,
        "all_subseeds": [own.subseed if varied else request.subseed for own in drawn],
        "subseed_strength": request.subseed_strength,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": model.name,
        "sd_model_hash": model.short_hash,
        "sd_vae_name": model.vae_name,
        "sd_vae_hash": model.vae_hash,
        "seed_resize_from_w": request.resized_from_width or -1,
        "seed_resize_from_h": request.resized_from_height or -1,
        "denoising_strength": request.denoising_strength if request.hires else None,
        "extra_generation_params": {"Schedule type": request.schedule_type},
        "index_of_first_image": 0,
        "infotexts": [saved.infotext for saved in pictures],
        "styles": list(request.styles),
        "job_timestamp": timestamp(job),
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": f"Embeddings WebUI {__version__}",
        "warnings": [*job.view.warnings, *ignored(body)],
    }


def timestamp(job: GenerationJob) -> str:
    """Return when a job was asked for, as A1111 writes it."""
    return datetime.fromtimestamp(job.asked).strftime("%Y%m%d%H%M%S")
