"""Valid embedding files taken apart by their structure, broken there, and put together again."""

from __future__ import annotations

import io
import json
import pickletools
import random
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch

from tests.hostile.builders import safetensors, text, torch_zip
from webui.embeddings import formats
from webui.embeddings.embedding import Embedding

MOST_CHANGES = 5
ADDED = [
    b"2", b"\x86", b"R", b"s", b"a", b"(", b"e", b"u", b"l", b"t", b")", b"]", b"}", b"N", b"0",
    b"c_codecs\nencode\n", b"cbuiltins\nset\n", b"ccollections\nOrderedDict\n", b"h\x00", b"Q",
    b"b", b"\x81", b"K\xff", b"J\xff\xff\xff\x7f", text("hex"), text("a" * 1000), b"\x94",
]  # fmt: skip
"""Operations of pickles that are put in."""
VALUES = [b"0", b"-1", b"1e400", b"[]", b"{}", b'""', b"null", b"9" * 400, b'"\\ud800"', b"true"]
"""JSON that is put in."""


def call_of(mark: Path) -> bytes:
    """Return the operations that would make a file, were anything in a pickle run."""
    return b"cos\nmkdir\n" + text(str(mark)) + b"\x85R"


def seeds(folder: Path) -> Mapping[str, list[bytes]]:
    """Return the pieces of a valid file of each format by its name."""
    embedding = Embedding("seed", {"clip_l": torch.randn(2, 768)}, step=7)
    found = {}
    for kind, suffix in formats.SUFFIXES.items():
        path = folder / f"{kind}{suffix}"
        formats.write(embedding, path, kind)
        found[path.name] = taken_apart(path)
    return found


def taken_apart(path: Path) -> list[bytes]:
    """Return a file as the pieces that are exchanged."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        length = struct.unpack("<Q", data[:8])[0]
        header = json.dumps(json.loads(data[8 : 8 + length])).replace(",", ",\n").encode()
        return [*header.splitlines(keepends=True), data[8 + length :]]
    if path.suffix == ".png":
        pieces, place = [], 8
        while place < len(data):
            size = struct.unpack(">I", data[place : place + 4])[0]
            pieces.append(data[place + 4 : place + 8 + size])
            place += 12 + size
        return pieces
    pickled = next(
        archive.read(name)
        for archive in [zipfile.ZipFile(io.BytesIO(data))]
        for name in archive.namelist()
        if name.endswith("data.pkl")
    )
    places = [place or 0 for _, _, place in pickletools.genops(pickled)] + [len(pickled)]
    return [pickled[a:b] for a, b in zip(places, places[1:], strict=False)]


def put_together(name: str, pieces: list[bytes]) -> bytes:
    """Return the file of pieces."""
    if name.endswith(".safetensors"):
        return safetensors(b"".join(pieces[:-1]), pieces[-1] if pieces else b"")
    if name.endswith(".png"):
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", max(0, len(piece) - 4)) + piece + struct.pack(">I", zlib.crc32(piece))
            for piece in pieces
        )
    return torch_zip(b"".join(pieces), bytes(2 * 768 * 4))


def broken(name: str, pieces: list[bytes], chance: random.Random, mark: Path) -> bytes:
    """Return the file with one to five pieces changed, doubled, moved, left out or put in."""
    pieces = list(pieces)
    added = VALUES if name.endswith(".safetensors") else [*ADDED, call_of(mark)]
    for _ in range(chance.randint(1, MOST_CHANGES)):
        place = chance.randrange(len(pieces) + 1)
        deed = chance.randrange(5)
        if deed == 0 or place == len(pieces):
            pieces.insert(place, chance.choice(added))
        elif deed == 1:
            pieces[place : place + 1] = [pieces[place]] * chance.choice((2, 3, 40))
        elif deed == 2:
            pieces.insert(chance.randrange(len(pieces)), pieces.pop(place))
        elif deed == 3 and len(pieces) > 1:
            del pieces[place]
        else:
            old = bytearray(pieces[place])
            for _ in range(chance.randint(1, 4)):
                if old:
                    old[chance.randrange(len(old))] = chance.randrange(256)
            pieces[place] = bytes(old)
    return put_together(name, pieces)
