"""A file of weights, safetensors or torch: its header first, single tensors on request.

It is our own because diffusers reads a whole checkpoint before it says what is wrong with it, and
maps it into memory, where a file that somebody shortens meanwhile would end the app.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from webui.errors import AppError, UnreadableFile
from webui.files import open_regular
from webui.reader_process import Answer, Ended, Faulty, Reader, shared_reader
from webui.tensor_files.pickles import TooMuch
from webui.tensor_files.safetensors import WrongSize, read_header
from webui.tensor_files.stored import ITEM_BYTES, Damaged, StoredTensor
from webui.tensor_files.torch_saved import Asked, Limits, NotTorch, Packed, read_torch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

log = logging.getLogger(__name__)

_MAX_HEADER_BYTES = 100 << 20
"""The most that safetensors allows for a header."""
_BLOCK_BYTES = 2 << 20
"""What is read at once of a tensor that is converted; it stays in the processor's caches."""
_TOLERATED = (
    "pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping EarlyStopping",
    "omegaconf.dictconfig DictConfig",
    "omegaconf.listconfig ListConfig",
    "omegaconf.base ContainerMetadata",
    "omegaconf.base Metadata",
    "omegaconf.nodes AnyNode",
    "typing Any",
    "collections defaultdict",
    "builtins dict", "__builtin__ dict", "builtins list", "__builtin__ list",
    "builtins int", "__builtin__ int", "builtins object", "__builtin__ object",
    "copy_reg _reconstructor", "copyreg _reconstructor",
)  # fmt: skip
"""What trainers left in old checkpoints beside the weights; an inert object takes their place."""
_INNER = ("state_dict", "params_ema", "params")
"""Where trainers of checkpoints and of upscalers put the weights, the better ones first."""
_LIMITS = Limits(
    operations=1_000_000,  # one of 2,000 tensors and its trainer's state takes 150,000
    pickle_bytes=64 << 20,
    members=100_000,
    longest=1 << 20,
    inert=frozenset(_TOLERATED),
)
_DAMAGED = "It was cut off or damaged: copy or download it again."


@dataclass(frozen=True)
class Entry:
    """One tensor as the header describes it."""

    shape: tuple[int, ...]
    dtype: str
    """As safetensors writes it: F32, F16, BF16, I64, …"""


class Read(Protocol):
    """Reads one tensor of a file."""

    def __call__(self, key: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return it on the CPU, with memory of its own, as it is stored or in another precision.

        Raises UnreadableFile.
        """


@dataclass(frozen=True)
class WeightsFile:
    """An open file of weights; tensors are read from the disk when they are asked for."""

    path: Path
    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    """Free text beside the weights, from the file and so not to be trusted."""
    read: Read


def counted(weights: WeightsFile, report: Callable[[float], None]) -> WeightsFile:
    """Return a file of weights that reports which part of its numbers, 0 to 1, has been read."""
    unread = {key: math.prod(entry.shape) for key, entry in weights.entries.items()}
    left = total = max(1, sum(unread.values()))

    def read(key: str, dtype: torch.dtype | None = None) -> Tensor:
        nonlocal left
        left -= unread.pop(key, 0)
        report(1 - left / total)
        return weights.read(key, dtype)

    return replace(weights, read=read)


@contextmanager
def open_weights(path: Path, reader: Reader | None = None) -> Iterator[WeightsFile]:
    """Open a file of weights; its content decides the format, not its ending.

    What is in it is found out by ``reader``, the shared processes if none is given. Nothing in
    the file is ever run. Raises UnreadableFile, naming the file and the reason.
    """
    try:
        told, _ = (reader or shared_reader()).ask(weights_told, str(path))
        file = open_regular(path)
    except (Ended, Faulty) as error:
        raise _unreadable(path, str(error)) from error
    except OSError as error:
        raise _unreadable(path, f"It cannot be opened: {error.strerror or error}.") from error
    with file:
        places = {name: _Place(*place) for name, *place in told["tensors"]}
        entries = {name: Entry(tuple(one.shape), one.dtype) for name, one in places.items()}

        def read(key: str, dtype: torch.dtype | None = None) -> Tensor:
            return _read(file, path, places[key], dtype)

        yield WeightsFile(path, entries, told["metadata"], read)


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in its file."""

    dtype: str
    shape: list[int]
    strides: list[int] | None
    """In numbers; None where they lie in order."""
    start: int
    size_bytes: int


def _read(file: BinaryIO, path: Path, place: _Place, dtype: torch.dtype | None) -> Tensor:
    """Read one tensor. Raises UnreadableFile, also for a file that has become shorter.

    What is wanted in another precision is read block by block into the same memory: memory that
    is taken anew costs more time than reading does.
    """
    import torch

    stored = {
        "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
        "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
        "U8": torch.uint8, "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
    }.get(place.dtype)  # fmt: skip
    if stored is None:
        raise _unreadable(path, f"It has numbers of the type {place.dtype[:20]}.")
    file.seek(place.start)
    if dtype in (None, stored) or place.strides is not None:
        data = torch.empty(place.size_bytes, dtype=torch.uint8)
        _fill(data, file, path)
        tensor = data.view(stored)
        if place.strides is None:
            return tensor.reshape(place.shape)
        return torch.as_strided(tensor, place.shape, place.strides).to(dtype or stored)
    converted = torch.empty(place.shape, dtype=dtype)
    block = torch.empty(min(_BLOCK_BYTES, place.size_bytes), dtype=torch.uint8)
    for part in torch.split(converted.view(-1), _BLOCK_BYTES // stored.itemsize):
        filled = block[: part.numel() * stored.itemsize]
        _fill(filled, file, path)
        part.copy_(filled.view(stored))
    return converted


def _fill(data: Tensor, file: BinaryIO, path: Path) -> None:
    """Read as many bytes as ``data`` (uint8) has. Raises UnreadableFile."""
    rest = memoryview(data.numpy())  # type: ignore[arg-type]
    try:
        while rest and (count := file.readinto(rest)):  # type: ignore[attr-defined]
            rest = rest[count:]
    except OSError as error:
        raise _unreadable(path, f"It cannot be read: {error.strerror or error}.") from error
    if rest:
        raise _unreadable(path, _DAMAGED)


def weights_told(name: str) -> Answer:
    """Return where the tensors of a file lie, and its metadata. Raises UnreadableFile, OSError."""
    path = Path(name)
    try:
        with open_regular(path) as file:
            tensors, metadata = _header(path, file)
        places = [(name, *_place(one)) for name, one in tensors.items()]
        return {"tensors": places, "metadata": metadata}, b""
    except Damaged as error:
        raise _unreadable(path, _DAMAGED) from error
    except AppError as error:
        raise (
            error if isinstance(error, UnreadableFile) else _unreadable(path, str(error))
        ) from error


def _header(path: Path, file: BinaryIO) -> tuple[Mapping[str, StoredTensor], Mapping[str, str]]:
    size_bytes = path.stat().st_size
    head = file.read(512)
    file.seek(0)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= _MAX_HEADER_BYTES:
        if 8 + length > size_bytes:
            raise Damaged
        file.seek(8)
        try:
            return read_header(file.read(length), size_bytes, _not_here)
        except WrongSize as error:
            raise Damaged from error
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return _torch_header(path, file, size_bytes, zipped=head.startswith(b"PK"))
    raise _unreadable(path, _stray(head))


def _torch_header(
    path: Path, file: BinaryIO, size_bytes: int, zipped: bool
) -> tuple[Mapping[str, StoredTensor], Mapping[str, str]]:
    try:
        content = read_torch(file, size_bytes, _not_here, _LIMITS)
    except TooMuch:
        reason = "It has far more in it than weights need; it was not opened."
        raise _unreadable(path, reason) from None
    except Packed:
        reason = "It is a packed zip file, which PyTorch does not write."
        raise _unreadable(path, reason) from None
    except NotTorch as error:
        reason = "It is a zip file, but not one written by PyTorch. Unpack it and look inside."
        raise _unreadable(path, reason if zipped else _DAMAGED) from error
    except Asked as asked:
        raise _unreadable(
            path,
            f"Opening it the usual way would run “{'.'.join(asked.args)}”, which weights do not "
            "need. Nothing of it was run. Get the model as .safetensors, and delete this file "
            "unless you know where it comes from.",
        ) from None
    if not isinstance(content, dict):
        raise _unreadable(path, "It holds no weights.")
    inner = next((content[key] for key in _INNER if key in content), content)
    found = (inner if isinstance(inner, dict) else content).items()
    step = content.get("global_step")
    return (
        {str(key): value for key, value in found if isinstance(value, StoredTensor)},
        {"global_step": str(step)} if isinstance(step, int) else {},
    )


def _place(one: StoredTensor) -> tuple[Any, ...]:
    """Return the fields of a _Place. Raises Damaged."""
    start, size_bytes = one.span() if one.dtype in ITEM_BYTES else (0, 0)
    return one.dtype, one.shape, one.strides, start, size_bytes


def _not_here(start: int, size_bytes: int) -> bytes:
    """The numbers are read by the app, and not where the header is."""
    raise NotImplementedError


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
