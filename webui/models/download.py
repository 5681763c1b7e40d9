"""Download a diffusers folder from Hugging Face into the models folder, only when asked.

Only what the app loads is fetched: settings, tokenizer and safetensors, in half precision where
there is a choice. Pickles never are. What was fetched waits in a hidden folder beside the target
until it is whole, and an interrupted download goes on from there. The Hub's client fetches, by its
function for one file: its downloads of whole folders drop half a file when they are cancelled.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

from webui.errors import AppError, BadField
from webui.files import contained, sha256
from webui.models.catalog import NOT_CHECKPOINTS
from webui.models.recognition import refuse_channels

KINDS = {
    "StableDiffusionPipeline": ("unet", "vae", "text_encoder"),
    "StableDiffusionXLPipeline": ("unet", "vae", "text_encoder", "text_encoder_2"),
}
"""The pipelines that the app draws with, and the networks each has."""
ROOM_BYTES = 256 * 2**20
"""So much of the disk stays free."""
TIMEOUT_S = 20
_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SETTINGS = re.compile(
    r"model_index\.json|defaults\.json|(unet|vae|text_encoder|text_encoder_2)/config\.json"
    r"|(tokenizer|tokenizer_2|scheduler)/[\w.-]+\.(json|txt)",
    re.ASCII,
)
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?P<half>\.fp16)?(?P<shard>-\d+-of-\d+)?\.safetensors"
)
_INDEX = {
    False: re.compile(r"(?:diffusion_pytorch_model|model)\.safetensors\.index\.json"),
    True: re.compile(r"(?:diffusion_pytorch_model|model)\.safetensors\.index\.fp16\.json"),
}


@dataclass(frozen=True)
class RemoteFile:
    """One file that will be fetched."""

    path: str
    """Inside the repository, with ``/``."""
    size_bytes: int
    sha256: str | None = None
    """Known for large files."""


@dataclass(frozen=True)
class Plan:
    """What a download consists of."""

    repo_id: str
    revision: str
    """The commit, so that all files are of one state."""
    files: tuple[RemoteFile, ...]

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


def check_id(text: str) -> str:
    """Return the id ``owner/name`` in a text, also out of a model's address; else BadField."""
    found = text.strip().removeprefix("https://").removeprefix("huggingface.co/").rstrip("/")
    if not _ID.fullmatch(found) or ".." in found:
        raise BadField(
            "repo_id",
            f"“{text.strip()[:100]}” is no id of Hugging Face. It looks like owner/name, as in "
            "the address of the model's page.",
        )
    return found


def place_for(repo_id: str, models: Path) -> Path:
    """Return the folder a model is downloaded to; BadField if there is something already."""
    owner, name = repo_id.split("/")
    folder = contained(models, f"{owner}-{name}" if name.lower() in NOT_CHECKPOINTS else name)
    if folder.exists():
        raise BadField("repo_id", f"{folder.name} is in {models.name}/ already.")
    return folder


def choose_files(repo_id: str, paths: Collection[str], networks: Collection[str]) -> list[str]:
    """Return the files of a repository that a diffusers folder with these networks needs.

    Raises AppError if a network has no safetensors.
    """
    chosen = [path for path in paths if _SETTINGS.fullmatch(path)]
    for network in networks:
        names = [path.split("/", 1)[1] for path in paths if path.startswith(f"{network}/")]
        weights = [found for name in names if (found := _WEIGHTS.fullmatch(name))]
        if not weights:
            raise AppError(
                f"{repo_id} has no safetensors in {network}/. Other formats can hold programs and "
                "are not downloaded; look for a newer copy of this model."
            )
        weights = [found for found in weights if found["half"]] or weights
        weights = [found for found in weights if not found["shard"]] or weights
        index = _INDEX[bool(weights[0]["half"])] if weights[0]["shard"] else None
        chosen += [f"{network}/{found[0]}" for found in weights]
        chosen += [f"{network}/{name}" for name in names if index and index.fullmatch(name)]
    return sorted(chosen)


def plan(repo_id: str) -> Plan:
    """Ask Hugging Face what a model consists of.

    Raises AppError if there is none, it cannot be had, or it is nothing the app can draw with.
    """
    from huggingface_hub import HfApi

    with _explained(repo_id):
        info = HfApi().model_info(repo_id, files_metadata=True, timeout=TIMEOUT_S)
        files = {
            item.rfilename: RemoteFile(
                item.rfilename, item.size or 0, item.lfs.sha256 if item.lfs else None
            )
            for item in info.siblings or []
        }
        revision = info.sha or ""
        if not _COMMIT.fullmatch(revision):
            raise AppError(f"The answer about {repo_id} names no revision; try again later.")
        if "model_index.json" not in files:
            raise AppError(_what_it_is(repo_id, info.pipeline_tag, list(files)))
        kind = _read_settings(repo_id, revision, "model_index.json").get("_class_name")
        if kind not in KINDS:
            raise AppError(
                f"{repo_id} is a {str(kind)[:60]}. The app draws with Stable Diffusion 1.x, 2.x "
                "and SDXL."
            )
        chosen = choose_files(repo_id, files, KINDS[kind])
        unet = _read_settings(repo_id, revision, "unet/config.json")
        refuse_channels(repo_id, unet.get("in_channels", 4))
    return Plan(repo_id, revision, tuple(files[path] for path in chosen))


def _what_it_is(repo_id: str, task: str | None, paths: Collection[str]) -> str:
    """Say what a repository without model_index.json is."""
    start = f"{repo_id} is not a diffusers folder: it has no model_index.json."
    single = [path for path in paths if path.endswith(".safetensors") and "/" not in path]
    if task == "text-to-image" and single:
        return (
            f"{start} It holds single files such as {single[0][:80]}. If one of them is a "
            "checkpoint, download it from the model's page and put it into models/."
        )
    return f"{start} Hugging Face files it under “{(task or 'nothing')[:40]}”."


def download(wanted: Plan, models: Path, report: Callable[[int], None]) -> Path:
    """Fetch all files of a plan into a new folder of ``models``, and return the folder.

    ``report`` is told the bytes that are there, again and again. What is there already from an
    interrupted download is not fetched again. Raises AppError, also for a disk that is too small.
    """
    target = place_for(wanted.repo_id, models)
    stem = f".{wanted.repo_id.replace('/', '--')}@"
    waiting = models / f"{stem}{wanted.revision[:12]}.part"
    models.mkdir(parents=True, exist_ok=True)
    for older in models.glob(f"{stem}*.part"):
        if older != waiting:
            shutil.rmtree(older)
    there = sum(path.stat().st_size for path in waiting.rglob("*") if path.is_file())
    room = shutil.disk_usage(models).free
    if wanted.size_bytes - there + ROOM_BYTES > room:
        raise AppError(
            f"{wanted.repo_id} takes {in_words(wanted.size_bytes)}, of which "
            f"{in_words(there)} are here. The disk of {models.name}/ has {in_words(room)} free."
        )
    done = 0
    with _explained(wanted.repo_id):
        for file in wanted.files:
            path = contained(waiting, file.path)
            if not path.is_file():
                _fetch(wanted, file, path, _following(done, report))
            done += file.size_bytes
            report(done)
    waiting.rename(place_for(wanted.repo_id, models))
    return target


def _following(before: int, report: Callable[[int], None]) -> Callable[[int], None]:
    return lambda size: report(before + size)


def in_words(size_bytes: int) -> str:
    """Return a size for people: ``12 MB``, ``2.7 GB``."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def _fetch(wanted: Plan, file: RemoteFile, path: Path, report: Callable[[int], None]) -> None:
    """Fetch one file, or the rest of it; it is named when it is whole."""
    from huggingface_hub import hf_hub_url

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with open(part, "ab") as sink:
        if sink.tell() < file.size_bytes:
            _get(hf_hub_url(wanted.repo_id, file.path, revision=wanted.revision), sink, report)
    if part.stat().st_size != file.size_bytes or file.sha256 not in (None, sha256(part)):
        part.unlink()
        raise AppError(f"{file.path} of {wanted.repo_id} arrived damaged; try again.")
    part.rename(path)


def _read_settings(repo_id: str, revision: str, path: str) -> dict[str, Any]:
    """Return a small JSON file of a repository."""
    from huggingface_hub import hf_hub_url

    buffer = BytesIO()
    _get(hf_hub_url(repo_id, path, revision=revision), buffer, lambda _: None)
    content = json.loads(buffer.getvalue())
    if not isinstance(content, dict):
        raise AppError(f"{path} of {repo_id} holds no settings.")
    return content


def _get(url: str, sink: BinaryIO, report: Callable[[int], None]) -> None:
    """Fetch what is missing at the end of ``sink``, trying again while the connection breaks.

    ``report`` is told how much of the file is there.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    done = 0

    def update(more: int) -> None:
        nonlocal done
        done += more  # less than nothing when the server begins anew
        report(done)

    def bar(initial: int = 0, **_: Any) -> AbstractContextManager[SimpleNamespace]:
        nonlocal done
        done = initial
        return nullcontext(SimpleNamespace(update=update))

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    http_get(url, sink, resume_size=sink.tell(), headers=headers, tqdm_class=cast(Any, bar))


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Turn what the client raises into sentences for people."""
    from huggingface_hub import constants, errors

    host = constants.ENDPOINT.split("//")[-1]
    try:
        yield
    except errors.GatedRepoError as error:
        raise AppError(
            f"{repo_id} is given only to those who accept its terms. Accept them at "
            f"{constants.ENDPOINT}/{repo_id}, log in with “hf auth login” in a terminal, and try "
            "again."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise BadField(
            "repo_id",
            f"There is no model {repo_id} at {host}, or it is private. For a private one log in "
            "with “hf auth login” in a terminal.",
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise AppError(f"{host} answered {repo_id} with status {status}; try later.") from error
    except errors.OfflineModeIsEnabled as error:
        raise AppError("HF_HUB_OFFLINE forbids this program to use the network.") from error
    except errors.HTTPError as error:
        raise AppError(
            f"{host} cannot be reached, or the connection broke. Check the network and start the "
            "download again; it goes on where it was."
        ) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise AppError(
            "The disk is full. Make room and start the download again; it goes on where it was."
        ) from error
    except ValueError as error:
        raise AppError(f"{host} gave no readable answer about {repo_id}: {error}.") from error
