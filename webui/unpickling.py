"""The one place where files of ``torch.save`` are opened, with torch's weights-only reader.

That reader keeps what files may ask for besides tensors in one list for the whole process. Behind
this door each file meets only the types that its own reader named.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

_LIST_IN_USE = threading.Lock()


def load_weights_only(
    source: Path | BinaryIO,
    stand_ins: Mapping[str, Callable[..., Any]] | None = None,
    *,
    mmap: bool = False,
) -> Any:
    """Return what a file of ``torch.save`` holds, on the CPU; nothing in it is ever run.

    ``stand_ins`` are inert types and functions by the full names that a file asks for. With
    ``mmap``, for zip files by path only, tensors stay on the disk until they are used. Raises
    pickle.UnpicklingError for a file that asks for anything else, and whatever torch raises for
    a damaged one.
    """
    import torch

    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (stand_in, name) for name, stand_in in (stand_ins or {}).items()
    ]
    with _LIST_IN_USE, torch.serialization.safe_globals(allowed):
        return torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
