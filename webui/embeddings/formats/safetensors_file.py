"""Files in the safetensors format: header checked first, then only the tensors that are needed.

Format: https://github.com/huggingface/safetensors#format. Read with plain file reads rather than
mapped into memory, because a mapped file that somebody shortens takes the whole process down.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from webui.embeddings.formats.layouts import MAX_TOKENS
from webui.embeddings.formats.source import Broken, Content, NotMine, Source
from webui.embeddings.formats.vectors import MAX_FLOATS
from webui.plain_json import bounded_json

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 16 << 20
MAX_SIDES = 8
"""Sides of a tensor."""
MAX_ITEMS = 300_000
"""Values in a header; a model of 3,000 tensors has 50,000."""
DAMAGED = "It is a safetensors file that was cut off or damaged. Copy or download it again."


def read(source: Source) -> Content:
    """Read the vectors and the metadata. Raises NotMine or Broken."""
    length = int.from_bytes(source.head[:8], "little")
    if source.head[8:9] != b"{":
        if source.path.suffix.lower() == ".safetensors" and length == 0:
            raise Broken(DAMAGED)
        raise NotMine("not a safetensors file")
    if length > MAX_HEADER_BYTES:
        raise Broken(f"Its header claims {length:,} bytes, more than any embedding has.")
    if 8 + length > source.size_bytes:
        raise Broken(DAMAGED)
    try:
        header = bounded_json(source.slice(8, length), MAX_ITEMS)
    except ValueError as fault:
        raise Broken(DAMAGED) from fault
    if not isinstance(header, dict):
        raise Broken(DAMAGED)
    metadata = header.pop("__metadata__", None) or {}
    names = [name for name in header if name.startswith("bundle_emb.")] or list(header)
    # A model's thousands of tensors need not be read to see that it is not an embedding.
    start = 8 + length
    wanted = names if len(names) <= MAX_TOKENS else []
    values = {name: _tensor(source, start, name, header[name]) for name in wanted}
    values |= {name: _nothing() for name in names if name not in values}
    kept = metadata if isinstance(metadata, Mapping) else {}
    return Content(".safetensors", values, {str(k): str(v) for k, v in kept.items()})


def write(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the tensors and the metadata as a safetensors file, the same for the same content.

    The library writes the metadata in an order of chance, which would change the file's hash.
    """
    from safetensors.torch import save

    data = save(dict(tensors), dict(metadata))
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # the numbers stay aligned
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _tensor(source: Source, start: int, name: str, entry: Any) -> Tensor:
    """Read one tensor; its claims are checked against the file's size before memory is taken."""
    import torch

    types = {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
    }
    try:
        if len(entry["shape"]) > MAX_SIDES or len(entry["data_offsets"]) != 2:
            raise Broken(DAMAGED)
        dtype, shape = str(entry["dtype"]), [int(side) for side in entry["shape"]]
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (TypeError, KeyError, ValueError) as fault:
        raise Broken(DAMAGED) from fault
    if dtype not in types:
        return _nothing()
    if not all(0 <= side < 1 << 40 for side in shape) or not 0 <= begin <= end:
        raise Broken(DAMAGED)
    count = math.prod(shape)
    if end - begin != count * types[dtype].itemsize:
        raise Broken(f"“{name[:80]}” does not have as many bytes as its shape {shape} needs.")
    if start + end > source.size_bytes:
        raise Broken(DAMAGED)
    if count == 0 or count > MAX_FLOATS:
        return torch.zeros(1).expand(shape) if count else torch.zeros(shape)
    data = bytearray(source.slice(start + begin, end - begin))
    return torch.frombuffer(data, dtype=types[dtype]).reshape(shape)


def _nothing() -> Tensor:
    """Stand in for a tensor that cannot be vectors, so that its name is still seen."""
    import torch

    return torch.zeros(0)
