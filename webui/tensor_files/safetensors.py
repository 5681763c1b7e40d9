"""Headers of the safetensors format: what they claim is checked before it is believed.

Format: https://github.com/huggingface/safetensors#format. The numbers are read from the file when
they are asked for, never mapped into memory: a mapped file that somebody shortens takes the whole
process down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from webui.plain_json import bounded_json
from webui.tensor_files.stored import ITEM_BYTES, MOST_SIDES, Damaged, Read, Storage, StoredTensor

MOST_ITEMS = 300_000
"""Values in a header; a model of 3,000 tensors has 50,000."""


class WrongSize(Exception):
    """A tensor has another number of bytes than its shape needs; ``args`` are name and shape."""


def read_header(
    header: bytes, size_bytes: int, read: Read
) -> tuple[dict[str, StoredTensor], Mapping[str, str]]:
    """Return the tensors by name, and the free text beside them, of a file of so many bytes.

    ``header`` is the JSON alone. Raises Damaged or WrongSize. Tensors of unknown types are kept
    by their names and shapes, and cannot be read.
    """
    try:
        entries = bounded_json(header, MOST_ITEMS)
    except ValueError as fault:
        raise Damaged from fault
    if not isinstance(entries, dict):
        raise Damaged
    metadata = entries.pop("__metadata__", None)
    texts = metadata if isinstance(metadata, dict) else {}
    start = 8 + len(header)
    tensors = {
        name: _tensor(name, entry, start, size_bytes, read) for name, entry in entries.items()
    }
    return tensors, {str(key): str(text) for key, text in texts.items()}


def _tensor(name: str, entry: Any, start: int, size_bytes: int, read: Read) -> StoredTensor:
    try:
        if len(entry["shape"]) > MOST_SIDES or len(entry["data_offsets"]) != 2:
            raise Damaged
        dtype, shape = str(entry["dtype"]), tuple(int(side) for side in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (TypeError, KeyError, ValueError, OverflowError) as fault:
        raise Damaged from fault
    if not all(0 <= side < 1 << 40 for side in shape) or not 0 <= begin <= end:
        raise Damaged
    if dtype in ITEM_BYTES and end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise WrongSize(name, list(shape))
    if start + end > size_bytes:
        raise Damaged
    return StoredTensor(dtype, shape, Storage(end - begin, read, start + begin))
