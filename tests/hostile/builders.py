"""Files made to freeze, fill or crash whoever opens them; each is a few hundred bytes or so."""

from __future__ import annotations

import base64
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping


def torch_zip(pickled: bytes, numbers: bytes = b"\0\0\0\0") -> bytes:
    """Return a file of torch.save with this pickle and one storage of these numbers."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", numbers)
    return buffer.getvalue()


def text(value: str) -> bytes:
    """Return the operation that pushes a text."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def nested_key(depth: int = 40) -> bytes:
    """``t = (t, t)``, 40 deep, as the key of a dictionary: 2^40 steps of hashing."""
    doubled = b"".join(b"2\x86" for _ in range(depth))
    return torch_zip(b"\x80\x02}" + b")" + doubled + b"K\x01s.")


def doubling(times: int = 40) -> bytes:
    """``_codecs.encode(x, "hex")`` again and again: each time twice as long."""
    calls = b"".join(b"c_codecs\nencode\n" for _ in range(times))
    pushed = b"C\x10" + b"x" * 16
    ends = b"".join(text("hex") + b"\x86R" for _ in range(times))
    return torch_zip(b"\x80\x03" + calls + pushed + ends + b".")


def large_array(size: int = 3_000_000_000) -> bytes:
    """``bytearray(3e9)`` in 40 bytes."""
    number = b"\x8a\x08" + struct.pack("<q", size)
    return torch_zip(b"\x80\x02cbuiltins\nbytearray\n" + number + b"\x85R.")


def deep_tuples(depth: int = 1_000_000) -> bytes:
    """A million tuples within one another, which end a process when they are thrown away."""
    return torch_zip(b"\x80\x02)" + b"\x85" * depth + b".")


def deep_lists(depth: int = 1_000_000) -> bytes:
    """The same of lists."""
    return torch_zip(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")


def set_of_tuples() -> bytes:
    """The deep tuple as a member of a set."""
    doubled = b")" + b"".join(b"2\x86" for _ in range(40))
    return torch_zip(b"\x80\x02cbuiltins\nset\n]" + doubled + b"a\x85R.")


def ordered_key() -> bytes:
    """The deep tuple as a key that an OrderedDict is called with."""
    doubled = b")" + b"".join(b"2\x86" for _ in range(40))
    return torch_zip(b"\x80\x02ccollections\nOrderedDict\n](" + doubled + b"K\x01la\x85R.")


def many_operations() -> bytes:
    """A list of a million numbers."""
    return torch_zip(b"\x80\x02](" + b"K\x01" * 1_000_000 + b"e.")


def old_form(pickled: bytes = b"\x80\x02)" + b"\x85" * 100_000 + b".") -> bytes:
    """The form before torch 1.6 with a hostile pickle after the honest ones."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    return magic + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2) + pickled


def safetensors(header: bytes, data: bytes = b"\0" * 4) -> bytes:
    """Return a safetensors file with these bytes as its header."""
    return struct.pack("<Q", len(header)) + header + data


def many_sides(sides: int = 1_900_000) -> bytes:
    """A tensor of millions of sides, whose product takes minutes."""
    shape = b"[" + b",".join([b"3"] * sides) + b"]"
    return safetensors(b'{"a":{"dtype":"F32","shape":' + shape + b',"data_offsets":[0,4]}}')


def many_names(count: int = 400_000) -> bytes:
    """A header of hundreds of thousands of tensors."""
    names = b",".join(b'"%d":{}' % number for number in range(count))
    return safetensors(b"{" + names + b"}")


def deep_header() -> bytes:
    """A header nested half a million deep."""
    return safetensors(b'{"a":' * 500_000)


def large_numbers() -> bytes:
    """Sides of a thousand digits."""
    digits = b"9" * 4000
    return safetensors(
        b'{"a":{"dtype":"F32","shape":[' + digits + b'],"data_offsets":[0,' + digits + b"]}}"
    )


def png(width: int, height: int, chunks: Mapping[bytes, bytes] | None = None) -> bytes:
    """Return a black PNG of one bit a pixel, with more chunks before the pixels."""
    row = b"\0" + b"\0" * ((width + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", head), *(chunks or {}).items(), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def tensor_bomb() -> bytes:
    """A picture whose text is a tensor of millions of empty lists."""
    packed = b'{"string_to_param":{"*":{"TORCHTENSOR":[' + b"[]," * 6_000_000 + b"[]]}}}"
    return png(8, 8, {b"tEXt": b"sd-ti-embedding\0" + base64.b64encode(packed)})


def deep_graph() -> bytes:
    """A picture with a ComfyUI graph of long chains and wide nodes."""
    wide = {f"i{number}": [str(number + 1), 0] for number in range(100)}
    graph = {str(number): {"class_type": "KSampler", "inputs": wide | {"positive": ["1", 0]}}
             for number in range(1000)}  # fmt: skip
    return png(8, 8, {b"tEXt": b"prompt\0" + json.dumps(graph).encode()})


EMBEDDINGS: Mapping[str, Callable[[], bytes]] = {
    "nested-key.pt": nested_key,
    "doubling.pt": doubling,
    "large-array.pt": large_array,
    "deep-tuples.pt": deep_tuples,
    "deep-lists.pt": deep_lists,
    "set-of-tuples.pt": set_of_tuples,
    "ordered-key.pt": ordered_key,
    "many-operations.pt": many_operations,
    "old-form.pt": old_form,
    "many-sides.safetensors": many_sides,
    "many-names.safetensors": many_names,
    "deep-header.safetensors": deep_header,
    "large-numbers.safetensors": large_numbers,
    "tensor-bomb.png": tensor_bomb,
}
"""Files that lie in an embeddings folder, by name."""
PICTURES: Mapping[str, Callable[[], bytes]] = {
    "one-column.png": lambda: png(1, 2_000_000),
    "one-row.png": lambda: png(60_000_000, 1),
    "large.png": lambda: png(20_000, 20_000),
    "deep-graph.png": deep_graph,
    "long-text.png": lambda: png(8, 8, {b"tEXt": b"parameters\0" + b"a:b, " * 4_000_000}),
    "tensor-bomb.png": tensor_bomb,
}
"""Pictures that may be dropped on the page."""
