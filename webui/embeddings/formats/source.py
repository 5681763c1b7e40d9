"""One embedding file, opened safely and read once; and the two ways in which a reader says no."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from webui.errors import UnreadableFile

MAX_WHOLE_BYTES = 64 << 20
"""Largest file that is read into memory as a whole; 4,096 SDXL vectors take 32 MiB."""


READ_AT_ONCE_BYTES = 1 << 20
"""Smaller files are read as a whole; of larger ones only what is asked for."""
CUT = "The file was cut short while it was read. Copy or download it again."


class NotMine(Exception):
    """A reader's "this is not my format, try the next", with the reason."""


class Broken(Exception):
    """A reader's "this is my format, but it cannot be used": whole sentences for people."""


class NothingInside(Broken):
    """A picture without an embedding in it, which is nothing to complain about."""


class Refused(UnreadableFile):
    """A file that no reader could make an embedding of; ``reason`` leaves out the file's name."""

    def __init__(self, path: Path, reason: str, short_hash: str = "") -> None:
        super().__init__(f"“{path.name}” cannot be used as an embedding. {reason}")
        self.reason = reason
        self.short_hash = short_hash


class NoEmbedding(Refused):
    """A plain picture: nothing is wrong with it, and it holds no vectors."""


class Source:
    """The bytes of one regular file, taken from one open handle so that they belong together."""

    def __init__(self, path: Path) -> None:
        """Open ``path`` without ever waiting for a pipe or a device; raises OSError, Broken."""
        self.path = path
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        self._file = os.fdopen(handle, "rb", buffering=0)
        self.status = os.fstat(handle)
        if not stat.S_ISREG(self.status.st_mode):
            self._file.close()
            raise Broken("It is not a regular file but a pipe, a device or a folder.")

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def size_bytes(self) -> int:
        """Size when it was opened."""
        return self.status.st_size

    @cached_property
    def head(self) -> bytes:
        """The first 4,096 bytes, enough to tell the containers apart."""
        return self.slice(0, min(4096, self.size_bytes))

    @cached_property
    def whole(self) -> bytes:
        """All bytes; raises Broken if they are more than an embedding can need."""
        if self.size_bytes > MAX_WHOLE_BYTES:
            raise Broken(
                f"It is {describe_size(self.size_bytes)} large; an embedding has at most "
                f"{describe_size(MAX_WHOLE_BYTES)}. It may be a checkpoint or a LoRA: "
                "move it to the folder where those belong."
            )
        return self._read(0, self.size_bytes)

    @cached_property
    def short_hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the bytes, "" for a file too large to read."""
        if self.size_bytes > MAX_WHOLE_BYTES:
            return ""
        return hashlib.sha256(self.whole).hexdigest()[:12]

    @property
    def short_hash_so_far(self) -> str:
        """The short hash if the bytes have been read anyway, else none."""
        return self.short_hash if "whole" in self.__dict__ else ""

    def slice(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from ``start``; raises Broken if the file ends before that."""
        if self.size_bytes > READ_AT_ONCE_BYTES:
            return self._read(start, length)
        if start + length > self.size_bytes:
            raise Broken(CUT)
        return self.whole[start : start + length]

    def _read(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        data = self._file.read(length)
        if len(data) != length:
            raise Broken(CUT)
        return data


@dataclass(frozen=True)
class Content:
    """What a container holds, before a layout has said what it means."""

    container: str
    """For people: ".pt", ".safetensors", "picture"."""
    values: Any
    """Dicts, lists, numbers, text and tensors; anything else has been left out or refused."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Free text beside the tensors, e.g. safetensors' ``__metadata__``."""


def describe_size(size_bytes: int) -> str:
    """Return a size for people, e.g. ``4.0 GB``."""
    size = float(size_bytes)
    for unit in ("bytes", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
