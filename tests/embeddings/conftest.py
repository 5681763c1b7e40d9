"""A folder of embeddings and a library that watches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webui.embeddings.library import EmbeddingLibrary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "embeddings"
    made.mkdir()
    return made


@pytest.fixture
def open_library(tmp_path: Path) -> Iterator[Callable[..., EmbeddingLibrary]]:
    """Starts libraries over folders; all share one index file, as after a restart."""
    opened: list[EmbeddingLibrary] = []

    def start(*folders: Path, wait: bool = True) -> EmbeddingLibrary:
        library = EmbeddingLibrary(folders, tmp_path / "cache" / "index.sqlite")
        opened.append(library)
        library.start(wait=wait)
        return library

    yield start
    for library in opened:
        library.stop()
