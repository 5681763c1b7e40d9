"""Files written by ``torch.save`` (.pt, .bin): read without running anything in them; written.

Such a file is a pickle, which may ask Python to call any function when it is opened. It is read by
a machine of our own, which can call nothing; see ``webui.tensor_files``.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from webui.embeddings.formats.source import MAX_WHOLE_BYTES, Broken, Content, NotMine, Source
from webui.tensor_files.pickles import DAMAGE, LONGEST_ARGUMENT, Inert, Known, TooMuch, read_pickle
from webui.tensor_files.stored import Damaged
from webui.tensor_files.torch_saved import Asked, Limits, NotTorch, Packed, read_torch

MAX_UNPACKED_BYTES = MAX_WHOLE_BYTES
"""Most bytes of a zip file's members together, whatever they were packed to."""
MAX_MEMBERS = 4096
MAX_OPERATIONS = 3000
"""Most steps of a pickle; an embedding takes about a hundred, 64 of them in a file 2,500."""
LIMITS = Limits(MAX_OPERATIONS, MAX_WHOLE_BYTES, MAX_MEMBERS)
DAMAGED = "It is a PyTorch file that was cut off or damaged. Copy or download it again."


def read(source: Source) -> Content:
    """Read a file of ``torch.save``, zip or the older form. Raises NotMine or Broken."""
    if source.head[257:262] == b"ustar":
        raise Broken("It was saved by a PyTorch older than 0.2, whose files cannot be read safely.")
    old = source.head[:1] == b"\x80" and 2 <= (source.head[1:2] or b"\0")[0] <= 5
    if not old and not source.head.startswith(b"PK\x03\x04"):
        raise NotMine("not a file of torch.save")
    try:
        try:
            return Content(".pt", _values(source.whole))
        except Packed:
            return Content(".pt", _values(_unpacked(source.whole)))
    except Asked as asked:
        raise Broken(_code(*asked.args)) from None
    except TooMuch:
        raise Broken("It has far more in it than an embedding needs; it was not opened.") from None
    except NotTorch as fault:
        raise Broken(
            "It is a Python pickle, but not one of PyTorch; it was not opened."
            if old
            else "It is a zip file, but not one of PyTorch: there is no data.pkl in it."
        ) from fault
    except Damaged as fault:
        raise Broken(DAMAGED) from fault


def _values(data: bytes) -> Any:
    """Return what a whole file holds; its tensors read their numbers from these bytes."""
    return read_torch(
        io.BytesIO(data), len(data), lambda start, size: data[start : start + size], LIMITS
    )


def refuse_plain_pickle(source: Source) -> None:
    """Raise Broken for pickles of the oldest, readable form that ask for something to be called.

    torch never wrote such files, but ``pickle.load`` would run what is in them.
    """
    stream = io.BytesIO(source.slice(0, min(source.size_bytes, LONGEST_ARGUMENT)))
    requests: list[tuple[str, str]] = []

    def find(module: str, name: str) -> Known:
        requests.append((module, name))
        return Known(Inert)

    try:
        read_pickle(stream, MAX_OPERATIONS, find)
    except DAMAGE:
        return
    except TooMuch:
        pass
    for module, name in requests:
        if module.isascii() and module.replace(".", "").isidentifier():
            raise Broken(_code(module, name))


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


def _unpacked(data: bytes) -> bytes:
    """Return a zip file anew without packing, with only the members that are needed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _zip(_members(archive))
    except Broken:
        raise
    except Exception as fault:  # damaged zip files make zipfile raise nearly anything
        raise Broken(DAMAGED) from fault


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


def _code(module: str, name: str) -> str:
    return (
        f"It tried to run code: opening it the usual way would call “{module}.{name}”, "
        "which has no place in an embedding. Nothing of it was run. "
        "Delete it unless you know where it comes from."
    )
