"""Small real implementations of interfaces, for tests that need one without files."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from webui.embeddings.cards import Card
from webui.embeddings.embedding import Embedding
from webui.settings import Settings
from webui.studio.studio import Studio

T = TypeVar("T")


class Library:
    """An ``EmbeddingSource`` of embeddings in memory."""

    def __init__(self, *embeddings: Embedding) -> None:
        self.version = 0
        self._embeddings: dict[str, Embedding] = {}
        for embedding in embeddings:
            self.put(embedding)

    def put(self, embedding: Embedding) -> None:
        """Add an embedding, or replace that of its name."""
        self._embeddings[embedding.name.casefold()] = embedding
        self.version += 1

    def names(self) -> Collection[str]:
        return [embedding.name for embedding in self._embeddings.values()]

    def get(self, name: str) -> Embedding | None:
        return self._embeddings.get(name.casefold())

    def card(self, name: str) -> Card | None:
        found = self.get(name)
        if found is None:
            return None
        return Card(
            found.name,
            Path(found.name),
            Path(),
            "",
            found.widths,
            len(found),
            short_hash="0123456789ab",
            content_hash=found.content_hash,
        )


def free_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def in_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns, run in a loop of a thread of its own.

    The browser tests leave a loop running in the thread of the tests.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def wait_until(condition: Callable[[], bool], timeout_s: float = 180) -> None:
    """Return as soon as a condition holds; fail the test if it does not in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


@contextmanager
def studio_without_model(folder: Path) -> Iterator[Studio]:
    """Open a studio on empty folders that has loaded no model, and close it afterwards."""
    studio = Studio(
        Settings(
            models_dir=folder / "models",
            embeddings_dirs=(folder / "embeddings",),
            outputs_dir=folder / "outputs",
            styles_file=folder / "styles.csv",
        )
    )
    studio.open()
    yield studio
    studio.close()
