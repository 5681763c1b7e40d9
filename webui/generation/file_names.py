"""Names of saved pictures and of their folders, by AUTOMATIC1111's patterns."""

from __future__ import annotations

import getpass
import hashlib
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

from PIL import Image

from webui.errors import BadField
from webui.generation.request import GenerationRequest
from webui.generation.sampling.samplers import SAMPLERS

FILE_PATTERN, FOLDER_PATTERN = "[seed]", "[date]"
"""AUTOMATIC1111's own; a number stands before the file's."""
LONGEST_PART = 128
"""Characters of a replacement that are kept."""
LONGEST_NAME_BYTES = 200
"""Bytes of a name; file systems take 255, and other endings may be put behind it."""
MOST_WORDS = 8
"""Words that ``[prompt_words]`` stands for."""
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f#<>:\"/\\|?*]")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""Names that Windows keeps for devices."""
_PLACEHOLDER = re.compile(r"\[([^\[\]<>]+)((?:<[^<>]*>)*)\]")
_TIME = "%Y%m%d%H%M%S"


@dataclass(frozen=True)
class NamedPicture:
    """What of a picture its name can tell."""

    image: Image.Image
    request: GenerationRequest
    """What gives this one picture."""
    model_name: str = ""
    model_hash: str = ""
    vae: str = ""
    """File name of a separate VAE, "" without one."""
    asked: GenerationRequest = field(default_factory=GenerationRequest)
    """The whole request, with its batches, and the styles that are in its prompts."""
    plain_prompt: str = ""
    """The prompt without its styles."""
    number: int = 0
    """Which picture of the request it is, counted from 0."""
    job_time: datetime = field(default_factory=datetime.now)
    """When the request was made."""


class _LeftOut(Exception):  # noqa: N818 - nothing went wrong
    """A placeholder has nothing to say and goes with the text before it."""


@dataclass(frozen=True)
class Naming:
    """The patterns in force."""

    file_pattern: str = FILE_PATTERN
    folder_pattern: str = FOLDER_PATTERN
    """With ``/`` for folders in folders; "" for none."""

    def folder(self, picture: NamedPicture) -> PurePosixPath:
        """Return the folder of a picture, relative to that of all; it never leads out of it."""
        written = self.folder_pattern.replace("\\", "/").split("/")
        parts = (_safe(apply(part, picture), "") for part in written)
        return PurePosixPath(*(part for part in parts if part))

    def decoration(self, picture: NamedPicture) -> str:
        """Return what stands behind the number of a picture's file, "" for nothing."""
        return _safe(apply(self.file_pattern.replace("/", "_"), picture), "")

    def of(self, request: GenerationRequest) -> Naming:
        """Return these patterns, or those that a request has of its own.

        Raises BadField as ``check`` does.
        """
        naming = Naming(
            request.file_pattern or self.file_pattern, request.folder_pattern or self.folder_pattern
        )
        naming.check()
        return naming

    def check(self) -> None:
        """Raise BadField for a pattern with a placeholder that does not exist."""
        for name, pattern in vars(self).items():
            for match in _PLACEHOLDER.finditer(pattern):
                if match[1].lower() not in _MEANINGS:
                    known = ", ".join(f"[{meaning}]" for meaning in _MEANINGS)
                    sentence = f"There is no placeholder {match[0]}. There are: {known}."
                    raise BadField(name, sentence)


def apply(pattern: str, picture: NamedPicture) -> str:
    """Return a pattern with its placeholders replaced; unknown ones stay as they are.

    Where one has nothing to say, such as ``[batch_number]`` of a batch of one, the text before it
    is left out with it, back to the placeholder before.
    """
    made, position = "", 0
    for match in _PLACEHOLDER.finditer(pattern):
        before, position = pattern[position : match.start()], match.end()
        meaning = _MEANINGS.get(match[1].lower())
        arguments = re.findall(r"<([^<>]*)>", match[2])[: _TAKES.get(match[1].lower(), 0)]
        try:
            made += before + (match[0] if meaning is None else str(meaning(picture, *arguments)))
        except _LeftOut:
            continue
    return made + pattern[position:]


def _safe(text: str, instead: str) -> str:
    """Return a text as a name that every file system takes."""
    name = _FORBIDDEN.sub("_", text).encode(errors="replace")[:LONGEST_NAME_BYTES]
    cut = name.decode(errors="ignore").lstrip(" ").rstrip(" .")
    return f"_{cut}" if _RESERVED.fullmatch(cut) else cut or instead


def _part(text: str, spaces: bool = True) -> str:
    """Return a replacement as a part of a name."""
    text = text if spaces else text.replace(" ", "_")
    return _FORBIDDEN.sub("_", text).lstrip(" ")[:LONGEST_PART].rstrip(" .")


def _words(picture: NamedPicture) -> str:
    words = re.split(rf"[\s{re.escape(string.punctuation)}]+", picture.request.prompt)
    return _part(" ".join([word for word in words if word][:MOST_WORDS]) or "empty")


def _schedule(picture: NamedPicture) -> str:
    chosen = picture.request.schedule_type
    return SAMPLERS[picture.request.sampler].automatic if chosen == "Automatic" else chosen


def _time(picture: NamedPicture, pattern: str = _TIME, zone: str = "") -> str:
    """Return the time in a pattern of ``strftime`` and a zone such as Asia/Tokyo."""
    where: tzinfo | None = None
    if zone:
        try:
            where = ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            where = None
    now = datetime.now().astimezone(where)
    try:
        return _part(now.strftime(pattern or _TIME))
    except ValueError:
        return now.strftime(_TIME)


def _hash(text: bytes, length: str) -> str:
    return hashlib.sha256(text).hexdigest()[: int(length) if length.isdecimal() else 8]


def _has_prompt(picture: NamedPicture, *wanted: str) -> str:
    """Return those of some words that are in the prompt; ``word|other`` says what else."""
    prompt = picture.request.prompt.lower()
    choices = (each.partition("|") for each in wanted if each)
    return _part(
        "".join(word.lower() if word.lower() in prompt else other for word, _, other in choices),
        spaces=False,
    )


def _if_more(count: int, number: int) -> int:
    if count <= 1:
        raise _LeftOut
    return number


def _denoising(picture: NamedPicture) -> str:
    if not picture.request.hires:
        raise _LeftOut
    return f"{picture.request.denoising_strength:g}"


def _user() -> str:
    try:
        return _part(getpass.getuser())
    except (KeyError, OSError, ImportError):
        return "user"


_MEANINGS: Mapping[str, Callable[..., object]] = {
    "seed": lambda picture: picture.request.seed,
    "seed_first": lambda picture: picture.asked.seed,
    "seed_last": lambda picture: _if_more(
        picture.asked.batch_size, picture.asked.seed + picture.asked.pictures - 1
    ),
    "steps": lambda picture: picture.request.steps,
    "cfg": lambda picture: f"{picture.request.cfg_scale:g}",
    "width": lambda picture: picture.image.width,
    "height": lambda picture: picture.image.height,
    "styles": lambda picture: _part(", ".join(picture.asked.styles) or "None"),
    "sampler": lambda picture: _part(picture.request.sampler),
    "scheduler": lambda picture: _part(_schedule(picture)),
    "sampler_scheduler": lambda picture: _part(f"{picture.request.sampler} {_schedule(picture)}"),
    "model_hash": lambda picture: picture.model_hash,
    "model_name": lambda picture: _part(picture.model_name),
    "vae_filename": lambda picture: _part(Path(picture.vae).stem) or "NoneType",
    "date": lambda picture: datetime.now().strftime("%Y-%m-%d"),
    "datetime": _time,
    "job_timestamp": lambda picture: picture.job_time.strftime(_TIME),
    "prompt": lambda picture: _part(picture.request.prompt, spaces=False),
    "prompt_spaces": lambda picture: _part(picture.request.prompt),
    "prompt_words": _words,
    "prompt_no_styles": lambda picture: _part(
        picture.plain_prompt if picture.asked.styles else picture.request.prompt
    ),
    "prompt_hash": lambda picture, length="": _hash(picture.request.prompt.encode(), length),
    "negative_prompt_hash": lambda picture, length="": _hash(
        picture.request.negative_prompt.encode(), length
    ),
    "full_prompt_hash": lambda picture, length="": _hash(
        f"{picture.request.prompt} {picture.request.negative_prompt}".encode(), length
    ),
    "hasprompt": _has_prompt,
    "clip_skip": lambda picture: picture.request.clip_skip,
    "denoising": _denoising,
    "batch_number": lambda picture: _if_more(
        picture.asked.batch_size, picture.number % picture.asked.batch_size + 1
    ),
    "batch_size": lambda picture: picture.asked.batch_size,
    "generation_number": lambda picture: _if_more(picture.asked.pictures, picture.number + 1),
    "image_hash": lambda picture, length="64": _hash(picture.image.tobytes(), length),
    "user": lambda picture: _user(),
    "none": lambda picture: "",
}
"""What stands for each placeholder; texts in ``<>`` behind its name are its arguments."""
_TAKES = {"datetime": 2, "hasprompt": 20, "image_hash": 1}
_TAKES |= {name: 1 for name in ("prompt_hash", "negative_prompt_hash", "full_prompt_hash")}
"""Arguments that a placeholder has at most; the others have none."""
