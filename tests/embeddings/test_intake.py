"""Files are read ahead of the cards that are made, and what changes meanwhile is not mixed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.embeddings.embedding_parts import put
from webui.embeddings import formats, intake
from webui.embeddings.library import EmbeddingLibrary
from webui.reader_process import Answer, Here, Question


class Telling(Here):
    """Says when files are asked for and when the answers are wanted."""

    def __init__(self, read: Callable[[str], None] = lambda path: None) -> None:
        self.told: list[tuple[str, str]] = []
        self._read = read

    def ask_many(self, questions: Sequence[Question]) -> Iterator[Answer | Exception]:
        self.told += [("asked", Path(path).stem) for _, path, *_ in questions]
        answers = list(super().ask_many(questions))

        def answered() -> Iterator[Answer | Exception]:
            for (_, path, *_), answer in zip(questions, answers, strict=True):
                self.told.append(("wanted", Path(path).stem))
                self._read(path)
                yield answer

        return answered()


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BATCH", 1)


@pytest.mark.usefixtures("one_by_one")
def test_the_next_files_are_read_before_the_cards_of_the_last_are_made(
    tmp_path: Path, folder: Path
):
    for seed, name in enumerate("abc"):
        put(folder / f"{name}.safetensors", seed)
    reader = Telling()
    library = EmbeddingLibrary([folder], tmp_path / "index.sqlite", reader)
    library.start()
    first, second, third = (name for kind, name in reader.told if kind == "asked")
    assert reader.told == [
        ("asked", first), ("asked", second), ("wanted", first),
        ("asked", third), ("wanted", second), ("wanted", third),
    ]  # fmt: skip
    assert set(library.names()) == set("abc")
    library.stop()


@pytest.mark.usefixtures("one_by_one")
def test_what_was_read_in_between_stays(tmp_path: Path, folder: Path):
    """A file is replaced and read anew between the question about it and its answer."""
    for seed, name in enumerate("ab"):
        put(folder / f"{name}.safetensors", seed)
    replaced: list[str] = []

    def read(path: str) -> None:
        if not replaced:
            replaced.append(next(name for name in "ab" if name != Path(path).stem))
            put(folder / f"{replaced[0]}.safetensors", 9)
            library.refresh()

    library = EmbeddingLibrary([folder], tmp_path / "index.sqlite", Telling(read))
    library.start()
    [name] = replaced
    now = formats.read(folder / f"{name}.safetensors")
    assert library.card(name).content_hash == now.content_hash
    library.stop()
