"""Files in the safetensors format: header checked first, then only the tensors that are needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from webui.embeddings.formats.layouts import MAX_TOKENS
from webui.embeddings.formats.source import Broken, Content, NotMine, Source
from webui.tensor_files.safetensors import WrongSize, read_header
from webui.tensor_files.stored import Damaged

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 16 << 20
DAMAGED = "It is a safetensors file that was cut off or damaged. Copy or download it again."


def read(source: Source) -> Content:
    """Read the header; tensors are read when they are asked for. Raises NotMine or Broken."""
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
        values, texts = read_header(source.slice(8, length), source.size_bytes, source.slice)
    except Damaged as fault:
        raise Broken(DAMAGED) from fault
    except WrongSize as fault:
        name, shape = fault.args
        raise Broken(
            f"“{name[:80]}” does not have as many bytes as its shape {shape} needs."
        ) from fault
    bundled = {name: one for name, one in values.items() if name.startswith("bundle_emb.")}
    if len(bundled) > MAX_TOKENS:
        raise Broken(f"It brings {len(bundled):,} tensors of embeddings; {MAX_TOKENS} are read.")
    return Content(".safetensors", bundled or values, texts)


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
