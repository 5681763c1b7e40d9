"""Files written by ``torch.save`` (.pt, .bin): read without running anything in them; written.

Such a file is a pickle, which may ask Python to call any function when it is opened. Three things
stand before that: the pickle is first only looked through for what it asks for; torch's
weights-only reader, which calls nothing but the rebuilding of tensors, does the reading; and the
few further types that old files need are replaced by inert stand-ins. There is no way round them.
"""

from __future__ import annotations

import io
import logging
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from webui.embeddings.formats.source import MAX_WHOLE_BYTES, Broken, Content, NotMine, Source
from webui.pickles import DAMAGE, LONGEST_ARGUMENT, TooMuch, look_through
from webui.unpickling import load_weights_only

log = logging.getLogger(__name__)

MAX_UNPACKED_BYTES = MAX_WHOLE_BYTES
"""Most bytes of a zip file's members together, whatever they were packed to."""
MAX_MEMBERS = 4096
MAX_OPERATIONS = 3000
"""Most steps of a pickle; an embedding takes about a hundred, 64 of them in a file 2,500."""

_HARMLESS = re.compile(
    r"collections OrderedDict"
    r"|torch (\w+Storage|Size|device|(b?float|u?int|bfloat)\w*|bool|half|double|long)"
    r"|torch\.storage UntypedStorage"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state)"
    r"|torch\.nn\.parameter Parameter"
    r"|torch\.nn\.modules\.container ParameterDict"
    r"|numpy(\._core|\.core)?\.multiarray scalar"
    r"|numpy dtype(\[\w+\])?|numpy\.dtypes \w+DType|_codecs encode"
    r"|(__builtin__|builtins) set"
)
"""What an embedding may ask for, as ``module name``."""
_MODULE_ID = re.compile(r"\(X[qr]?(?P<class>c[qr]?)(?:[XN][qr]?){2}t[qr]?Q")
"""The id of a module's class in pickle's operations: a mark, texts, the class, a tuple, the id."""


class _Parameters(dict[str, Any]):
    """Stands in for ``torch.nn.ParameterDict``: keeps its parameters, runs none of its code."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping) and isinstance(state.get("_parameters"), Mapping):
            self.update(state["_parameters"])


class _NumberType:
    """Stands in for ``numpy.dtype``: remembers which kind of number follows."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code if isinstance(code, str) else ""

    def __setstate__(self, state: Any) -> None:
        """Nothing of a dtype's state is needed."""


def _number(kind: Any, data: Any = b"") -> int | float | None:
    """Stand in for ``numpy.core.multiarray.scalar``: decode the common numbers, else None."""
    form = {"i4": "<i", "i8": "<q", "f4": "<f", "f8": "<d"}.get(getattr(kind, "code", ""))
    if form is None or not isinstance(data, bytes) or len(data) != struct.calcsize(form):
        return None
    value: int | float = struct.unpack(form, data)[0]
    return value


_STAND_INS: Mapping[str, Callable[..., Any]] = {
    "torch.nn.modules.container.ParameterDict": _Parameters,
    "numpy.dtype": _NumberType,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
}


def read(source: Source) -> Content:
    """Read a file of ``torch.save``, zip or the older form. Raises NotMine or Broken."""
    if source.head.startswith(b"PK\x03\x04"):
        return Content(".pt", _load(_repack(source.whole)))
    if source.head[:1] == b"\x80" and 2 <= (source.head[1:2] or b"\0")[0] <= 5:
        return Content(".pt", _load_old(source.whole))
    if source.head[257:262] == b"ustar":
        raise Broken("It was saved by a PyTorch older than 0.2, whose files cannot be read safely.")
    raise NotMine("not a file of torch.save")


def refuse_plain_pickle(source: Source) -> None:
    """Raise Broken for pickles of the oldest, readable form that ask for something to be called.

    torch never wrote such files, but ``pickle.load`` would run what is in them.
    """
    stream = io.BytesIO(source.slice(0, min(source.size_bytes, LONGEST_ARGUMENT)))
    requests: list[tuple[str, str]] = []
    try:
        look_through(stream, MAX_OPERATIONS, lambda *asked: requests.append(asked))
    except DAMAGE:
        return
    except TooMuch:
        pass
    for module, name in requests:
        if module.isascii() and module.replace(".", "").isidentifier():
            _refuse_request(module, name)


def write(values: Mapping[str, Any]) -> bytes:
    """Return ``values`` as ``torch.save`` would write them, less what older programs refuse.

    AUTOMATIC1111 refuses every member of the zip file that it does not know, such as the
    ``byteorder`` of newer torch versions, so only the members it knows are kept.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(dict(values), buffer)
    members = _members(zipfile.ZipFile(buffer))
    members.pop("archive/byteorder", None)
    return _zip(members)


def _repack(data: bytes) -> io.BytesIO:
    """Return the zip file anew with only the members that torch needs, sizes checked first.

    torch would take a member's stated size on trust, and might see other members than we do.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(archive)
    except Broken:
        raise
    except Exception as fault:  # damaged zip files make zipfile raise nearly anything
        raise Broken(
            "It is a PyTorch file that was cut off or damaged. Copy or download it again."
        ) from fault
    pickled = [content for name, content in members.items() if name.endswith("/data.pkl")]
    if len(pickled) != 1:
        raise Broken("It is a zip file, but not one of PyTorch: there is no data.pkl in it.")
    _check(pickled[0])
    return io.BytesIO(_zip(members))


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Return the content of the members that torch needs, under the folder name ``archive/``."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_UNPACKED_BYTES:
        raise Broken(
            "It would unpack to more than an embedding can need. It may be a zip bomb; "
            "it was not unpacked."
        )
    members = {}
    for info in infos:
        match = re.fullmatch(r"[^/]*/(data\.pkl|version|byteorder|data/\d+)", info.filename)
        if match:
            with archive.open(info) as member:
                members["archive/" + match[1]] = member.read(info.file_size)
    return members


def _zip(members: Mapping[str, bytes]) -> bytes:
    """Return a plain zip file, the same bytes for the same members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def _load_old(data: bytes) -> Any:
    """Read the form before torch 1.6: five pickles in a row, then the raw numbers."""
    stream = io.BytesIO(data)
    pickles: list[bytes] = []
    for number in range(5):
        start = stream.tell()
        operations = _check_operations(stream)
        if number == 0 and not any(arg == 0x1950A86A20F9469CFC6C for arg in operations):
            raise Broken("It is a Python pickle, but not one of PyTorch; it was not opened.")
        if stream.tell() == start:
            raise Broken("It was cut off. Copy or download it again.")
        pickled = data[start : stream.tell()]
        pickles.append(_without_module_ids(pickled))
        if pickles[-1] != pickled:
            _check(pickles[-1])
    return _load(io.BytesIO(b"".join([*pickles, stream.read()])))


def _without_module_ids(pickled: bytes) -> bytes:
    """Return a pickle with the bare class wherever ``("module", class, file, source)`` is an id.

    The older form keeps classes of modules so, such as ``ParameterDict``, with the text of their
    code; torch's weights-only reader takes no ids but those of numbers.
    """
    operations = [(op, argument, start or 0) for op, argument, start in pickletools.genops(pickled)]
    starts = [start for _, _, start in operations]
    kept, done = [], 0
    for found in _MODULE_ID.finditer("".join(operation.code for operation, _, _ in operations)):
        if operations[found.start() + 1][1] == "module":
            first, last = starts[found.start("class")], starts[found.end("class")]
            kept += [pickled[done : starts[found.start()]], pickled[first:last]]
            done = starts[found.end()]
    return b"".join([*kept, pickled[done:]])


def _check(pickled: bytes) -> None:
    """Look through one pickle; raises Broken if it asks for anything an embedding does not need."""
    _check_operations(io.BytesIO(pickled))


def _check_operations(stream: io.BytesIO) -> list[Any]:
    """Look through the next pickle of a stream without opening it; return its arguments."""
    try:
        return look_through(stream, MAX_OPERATIONS, _refuse_request)
    except TooMuch:
        raise Broken("It has far more in it than an embedding needs; it was not opened.") from None
    except DAMAGE as fault:
        raise Broken(
            "It starts like a PyTorch file but was cut off or damaged. Copy or download it again."
        ) from fault


def _refuse_request(module: str, name: str) -> None:
    """Raise Broken if what a pickle asks for has no place in an embedding."""
    if not _HARMLESS.fullmatch(f"{module} {name}"):
        raise Broken(
            f"It tried to run code: opening it the usual way would call “{module}.{name}”, "
            "which has no place in an embedding. Nothing of it was run. "
            "Delete it unless you know where it comes from."
        )


def _load(stream: io.BytesIO) -> Any:
    """Read with torch's weights-only reader, plus the stand-ins."""
    try:
        return load_weights_only(stream, _STAND_INS)
    except Exception as fault:
        log.info("torch's weights-only reader refused a file: %s", fault)
        raise Broken(
            "It is a PyTorch file, but PyTorch's safe reader cannot make sense of it. "
            "It may be damaged: copy or download it again."
        ) from fault
