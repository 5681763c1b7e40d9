"""A file of weights, safetensors or torch: its header first, single tensors on request.

It is our own because diffusers reads a whole checkpoint before it says what is wrong with it.
"""

from __future__ import annotations

import io
import logging
import math
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from webui.errors import UnreadableFile
from webui.files import open_regular
from webui.pickles import DAMAGE, TooMuch, look_through
from webui.unpickling import load_weights_only

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

_MAX_HEADER_BYTES = 100 << 20
"""The most that safetensors allows for a header."""
_TOLERATED = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "typing.Any",
    "collections.defaultdict",
)
"""What trainers left in old checkpoints beside the weights; an inert object takes their place."""
_INNER = ("state_dict", "params_ema", "params")
"""Where trainers of checkpoints and of upscalers put the weights, the better ones first."""
_LARGEST_PICKLE_BYTES = 64 << 20
_MOST_OPERATIONS = 1_000_000
"""Steps of a checkpoint's pickle; one of 2,000 tensors and its trainer's state takes 150,000."""
_OLD_FORM_PICKLES = 5
"""So many pickles stand before the numbers in files of before torch 1.6."""
_DAMAGED = "It was cut off or damaged: copy or download it again."


@dataclass(frozen=True)
class Entry:
    """One tensor as the header describes it."""

    shape: tuple[int, ...]
    dtype: str
    """As safetensors writes it: F32, F16, BF16, I64, …"""


@dataclass(frozen=True)
class WeightsFile:
    """An open file of weights; tensors are read from the disk when they are asked for."""

    path: Path
    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    """Free text beside the weights, from the file and so not to be trusted."""
    read: Callable[[str], Tensor]
    """Return one tensor on the CPU. It may share memory with the file, so copy what is kept."""


def counted(weights: WeightsFile, report: Callable[[float], None]) -> WeightsFile:
    """Return a file of weights that reports which part of its numbers, 0 to 1, has been read."""
    unread = {key: math.prod(entry.shape) for key, entry in weights.entries.items()}
    left = total = max(1, sum(unread.values()))

    def read(key: str) -> Tensor:
        nonlocal left
        left -= unread.pop(key, 0)
        report(1 - left / total)
        return weights.read(key)

    return replace(weights, read=read)


@contextmanager
def open_weights(path: Path) -> Iterator[WeightsFile]:
    """Open a file of weights; its content decides the format, not its ending.

    Nothing in the file is ever run. Raises UnreadableFile, naming the file and the reason.
    """
    try:
        size_bytes = path.stat().st_size
        with open_regular(path) as file:
            head = file.read(512)
    except OSError as error:
        raise _unreadable(path, f"It cannot be opened: {error.strerror or error}.") from error
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= _MAX_HEADER_BYTES:
        if 8 + length > size_bytes:
            raise _unreadable(path, _DAMAGED)
        with _open_safetensors(path) as weights:
            yield weights
    elif head.startswith((b"PK\x03\x04", b"\x80")):
        yield _open_torch(path, zipped=head.startswith(b"PK"))
    else:
        raise _unreadable(path, _stray(head))


@contextmanager
def _open_safetensors(path: Path) -> Iterator[WeightsFile]:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, _DAMAGED) from error
    with file:
        entries = {}
        for key in file.keys():
            part = file.get_slice(key)
            entries[key] = Entry(tuple(part.get_shape()), part.get_dtype())
        yield WeightsFile(path, entries, dict(file.metadata() or {}), file.get_tensor)


def _open_torch(path: Path, zipped: bool) -> WeightsFile:
    """Read a file of torch.save with torch's weights-only reader, the weights left on the disk."""
    if zipped:
        _check_zip(path)
    _look_through(path, zipped)
    content = _load_weights_only(path, zipped)
    if not isinstance(content, Mapping):
        raise _unreadable(path, "It holds no weights.")
    inner = next((content[key] for key in _INNER if key in content), content)
    tensors = {
        str(key): value
        for key, value in (inner if isinstance(inner, Mapping) else content).items()
        if hasattr(value, "untyped_storage")
    }
    step = content.get("global_step")
    return WeightsFile(
        path,
        {key: Entry(tuple(value.shape), _short_dtype(value)) for key, value in tensors.items()},
        {"global_step": str(step)} if isinstance(step, int) else {},
        tensors.__getitem__,
    )


def _look_through(path: Path, zipped: bool) -> None:
    """Refuse a pickle in which something could grow; torch's reader looks at what it asks for."""
    try:
        with open_regular(path) as file:
            if zipped:
                with zipfile.ZipFile(file) as archive:
                    [name] = [n for n in archive.namelist() if n.endswith("/data.pkl")]
                    if archive.getinfo(name).file_size > _LARGEST_PICKLE_BYTES:
                        raise TooMuch
                    _look_at(io.BytesIO(archive.read(name)))
            else:
                size_bytes = path.stat().st_size
                for _ in range(_OLD_FORM_PICKLES):
                    if file.tell() < size_bytes:
                        _look_at(file)
    except TooMuch:
        reason = "It has far more in it than weights need; it was not opened."
        raise _unreadable(path, reason) from None
    except (*DAMAGE, zipfile.BadZipFile, OSError, EOFError) as error:
        raise _unreadable(path, _DAMAGED) from error


def _look_at(stream: BinaryIO) -> None:
    look_through(stream, _MOST_OPERATIONS, lambda module, name: None, longest=1 << 20)


def _check_zip(path: Path) -> None:
    """Refuse packed members, which torch never writes and which could unpack to anything."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _unreadable(path, _DAMAGED) from error
    if not any(member.filename.endswith("/data.pkl") for member in members):
        raise _unreadable(
            path, "It is a zip file, but not one written by PyTorch. Unpack it and look inside."
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise _unreadable(path, "It is a packed zip file, which PyTorch does not write.")


def _load_weights_only(path: Path, zipped: bool) -> Any:
    stand_ins = dict.fromkeys(_TOLERATED, _Inert)
    try:
        if path.suffix == ".safetensors":  # torch would go by the ending and not by the content
            with open(path, "rb") as file:
                return load_weights_only(file, stand_ins)
        return load_weights_only(path, stand_ins, mmap=zipped)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked is None:
            raise _unreadable(path, _DAMAGED) from error
        raise _unreadable(
            path,
            f"Opening it the usual way would run “{asked[1]}”, which weights do not need. Nothing "
            "of it was run. Get the model as .safetensors, and delete this file unless you know "
            "where it comes from.",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise _unreadable(path, _DAMAGED) from error


class _Inert:
    """Stands in for a trainer's own types: takes anything, keeps and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _short_dtype(tensor: Tensor) -> str:
    name = str(tensor.dtype).removeprefix("torch.")
    return {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}.get(
        name, name.upper()
    )


def _stray(head: bytes) -> str:
    """Say what a file that is neither safetensors nor torch begins like."""
    start = head.lstrip()[:64].lower()
    if not head:
        return "It is empty: copying or downloading it failed. Fetch it again."
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return (
            "It is a web page: the site answered with a page instead of the file. Open the link "
            "in a browser and download the file itself."
        )
    if start.startswith(b"version https://git-lfs"):
        return "It is only a pointer of Git LFS. Fetch the file itself with “git lfs pull”."
    if start.startswith(b"gguf"):
        return "It is a GGUF file, which the app cannot read. Get the safetensors file instead."
    return "It is neither a safetensors nor a PyTorch file, or it was damaged: fetch it again."


def _unreadable(path: Path, reason: str) -> UnreadableFile:
    return UnreadableFile(f"{path.name} could not be loaded. {reason}")
