"""Files of ``torch.save``, zip or the form before torch 1.6: their values, tensors by their place.

The layout was described from files and from torch's documentation on serialization. Torch's own
reader is not needed, and neither is torch.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from webui.tensor_files.pickles import (
    DAMAGE,
    LONGEST_ARGUMENT,
    Inert,
    Known,
    TooMuch,
    check_keys,
    read_pickle,
)
from webui.tensor_files.stored import ITEM_BYTES, Damaged, Read, Storage, StoredTensor

OLD_MARK = 0x1950A86A20F9469CFC6C
"""The first pickle of a file in the old form."""
_STORAGES = {
    "FloatStorage": "F32", "DoubleStorage": "F64", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "UntypedStorage": "U8",
}  # fmt: skip
_DTYPES = {
    "float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
_OTHER_TYPES = re.compile(
    r"torch (\w+Storage|device|b?float\w*|u?int\w*|half|double|long)"
    r"|numpy dtype\[\w+\]|numpy\.dtypes \w+DType"
)
_MEMBER = re.compile(r"[^/]*/(data\.pkl|byteorder|data/\d+)")


class Asked(Exception):
    """A pickle asks for something that no weights need; ``args`` are its module and name."""


class NotTorch(Exception):
    """A zip file or a pickle, but not one of torch's."""


class Packed(Exception):
    """A zip file whose members are packed, which torch does not write."""


@dataclass(frozen=True)
class Limits:
    """How much a file may have in it."""

    operations: int
    """Of a pickle."""
    pickle_bytes: int
    members: int
    """Of a zip file."""
    longest: int = LONGEST_ARGUMENT
    """Characters of a text."""
    inert: frozenset[str] = frozenset()
    """Types by ``module name`` that may be asked for besides, and are made nothing of."""


def read_torch(file: BinaryIO, size_bytes: int, read: Read, limits: Limits) -> Any:
    """Return what a file holds: dicts, lists, tuples, text, numbers and StoredTensors.

    ``read`` is what the tensors read their numbers with later. Raises Damaged, NotTorch, Packed,
    Asked, or TooMuch; nothing in the file is ever run.
    """
    try:
        if file.read(2) == b"PK":
            return _read_zip(file, size_bytes, read, limits)
        file.seek(0)
        return _read_old(file, size_bytes, read, limits)
    except (*DAMAGE, EOFError, OverflowError, zipfile.BadZipFile, NotImplementedError) as fault:
        raise Damaged from fault


def _read_zip(file: BinaryIO, size_bytes: int, read: Read, limits: Limits) -> Any:
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
    if len(infos) > limits.members:
        raise TooMuch
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if match := _MEMBER.fullmatch(info.filename):
            if match[1] in members:
                raise NotTorch  # which of two is meant is anybody's guess
            members[match[1]] = info
    if "data.pkl" not in members:
        raise NotTorch
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise Packed
    if members["data.pkl"].file_size > limits.pickle_bytes:
        raise TooMuch
    places = {name: _place(file, info, size_bytes) for name, info in members.items()}

    def member(name: str) -> bytes:
        start, length = places[name]
        file.seek(start)
        return file.read(length)

    if "byteorder" in members and member("byteorder") != b"little":
        raise Damaged

    def storage(key: str, needed_bytes: int) -> Storage:
        start, length = places[f"data/{key}"]
        if needed_bytes > length:
            raise Damaged
        return Storage(length, read, start)

    return _unpickled(io.BytesIO(member("data.pkl")), storage, limits)


def _place(file: BinaryIO, info: zipfile.ZipInfo, size_bytes: int) -> tuple[int, int]:
    """Return where the bytes of a member that is not packed begin, and how many they are."""
    file.seek(info.header_offset)
    head = file.read(30)
    if len(head) != 30 or head[:4] != b"PK\x03\x04" or info.flag_bits & 1:
        raise Damaged
    start = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:]))
    if info.file_size != info.compress_size or start + info.file_size > size_bytes:
        raise Damaged
    return start, info.file_size


def _read_old(file: BinaryIO, size_bytes: int, read: Read, limits: Limits) -> Any:
    """Read five pickles: a mark, a version, the system, the content, and the storages in order.

    The numbers follow, those of each storage after their count in 8 bytes.
    """
    stream = io.BytesIO(file.read(min(size_bytes, limits.pickle_bytes)))
    storages: dict[str, tuple[Storage, int]] = {}

    def storage(key: str, needed_bytes: int) -> Storage:
        found, most = storages.get(key, (Storage(0, read), 0))
        storages[key] = found, max(most, needed_bytes)
        return found

    if _unpickled(stream, storage, limits) != OLD_MARK:
        raise NotTorch
    for _ in range(2):
        _unpickled(stream, storage, limits)
    content = _unpickled(stream, storage, limits)
    place = _unpickled(stream, storage, limits)
    if not isinstance(place, list):
        raise Damaged
    order, place = place, stream.tell()
    for key in order:
        found, needed_bytes = storages[key]
        found.start, found.size_bytes = place + 8, needed_bytes
        place += 8 + needed_bytes
    if place > size_bytes or len(set(order)) < len(storages):
        raise Damaged
    return content


def _unpickled(stream: BinaryIO, storage: Callable[[str, int], Storage], limits: Limits) -> Any:
    def find(module: str, name: str) -> Known:
        known = KNOWN.get(f"{module} {name}")
        if known is None:
            named = f"{module} {name}"
            if named not in limits.inert and not _OTHER_TYPES.fullmatch(named):
                raise Asked(module, name)
            known = Known(Inert, named)
        return known

    def persistent(key: Any) -> Any:
        """Return a storage's type of numbers, its place, and the first number that is meant.

        Of a module's class, which the old form keeps with the text of its code, only the class.
        """
        kind, of, name, _, *rest = key
        if kind == "module":
            return of
        count, *view = rest
        dtype = _STORAGES.get(of.name)
        if kind != "storage" or dtype is None or not isinstance(name, str):
            raise Damaged
        first = view[0][1] if view and view[0] is not None else 0
        _check_numbers(count, first)
        return dtype, storage(name, count * ITEM_BYTES[dtype]), first

    return read_pickle(stream, limits.operations, find, persistent, limits.longest)


def _check_numbers(*numbers: Any) -> None:
    """Raise Damaged for anything but counts and places of a possible size."""
    if any(type(number) is not int or not 0 <= number < 1 << 50 for number in numbers):
        raise Damaged


def _tensor(
    stored: tuple[str, Storage, int], offset: int, shape: Any, strides: Any, *_: Any
) -> StoredTensor:
    """Stand in for ``torch._utils._rebuild_tensor`` and ``…_v2``."""
    dtype, storage, first = stored
    _check_numbers(offset, *shape, *strides)
    return StoredTensor(dtype, tuple(shape), storage, first + offset, tuple(strides))


def _typed_tensor(
    stored: Any, offset: int, shape: Any, strides: Any, _: Any, __: Any, dtype: Known, *___: Any
) -> StoredTensor:
    """Stand in for ``_rebuild_tensor_v3``, which names the type of numbers itself."""
    return _tensor((dtype.name, *stored[1:]), offset, shape, strides)


def _first(value: Any = None, *_: Any) -> Any:
    return value


def _ordered(items: Any = (), *_: Any) -> dict[Any, Any]:
    check_keys(item[0] for item in items)
    return {item[0]: item[1] for item in items}


def _set(items: Any = (), *_: Any) -> Inert:
    check_keys(items)
    return Inert()


def _encoded(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode`` as pickles write bytes with it; other uses can grow."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TooMuch
    return text.encode("latin-1")


class _Parameters(dict[str, Any], Inert):
    """Stands in for ``torch.nn.ParameterDict``: keeps its parameters, runs none of its code."""

    def take_state(self, state: Any) -> None:
        """Take the parameters out of an object's state."""
        if isinstance(state, dict) and isinstance(state.get("_parameters"), dict):
            self.update(state["_parameters"])


class _NumberType(Inert):
    """Stands in for ``numpy.dtype``: remembers which kind of number follows."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code if isinstance(code, str) else ""


def _number(kind: Any, data: Any = b"") -> int | float | None:
    """Stand in for ``numpy.core.multiarray.scalar``: decode the common numbers, else None."""
    form = {"i4": "<i", "i8": "<q", "f4": "<f", "f8": "<d"}.get(getattr(kind, "code", ""))
    if form is None or not isinstance(data, bytes) or len(data) != struct.calcsize(form):
        return None
    value: int | float = struct.unpack(form, data)[0]
    return value


KNOWN = {
    "collections OrderedDict": Known(_ordered),
    "torch Size": Known(_first),
    "torch._utils _rebuild_tensor": Known(_tensor),
    "torch._utils _rebuild_tensor_v2": Known(_tensor),
    "torch._utils _rebuild_tensor_v3": Known(_typed_tensor),
    "torch._utils _rebuild_parameter": Known(_first),
    "torch._utils _rebuild_parameter_with_state": Known(_first),
    "torch.nn.parameter Parameter": Known(_first),
    "torch.nn.modules.container ParameterDict": Known(_Parameters),
    "torch.storage UntypedStorage": Known(Inert, "UntypedStorage"),
    "_codecs encode": Known(_encoded),
    **{f"torch {name}": Known(Inert, name) for name in _STORAGES},
    **{f"torch {name}": Known(Inert, short) for name, short in _DTYPES.items()},
    **{f"numpy{room}.multiarray scalar": Known(_number) for room in ("", "._core", ".core")},
    "numpy dtype": Known(_NumberType),
    **{f"{module} set": Known(_set) for module in ("builtins", "__builtin__")},
}
"""What files of weights ask for by name, and what is done in its place."""
