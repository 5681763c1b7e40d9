"""Files are read in a process of their own, and whatever becomes of that, the next is read."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from tests.hostile.builders import EMBEDDINGS
from webui.embeddings import formats
from webui.embeddings.library import EmbeddingLibrary
from webui.reader_process import Answer, Ended, Here, Question, ReaderProcess
from webui.settings import ROOT

HONEST = ROOT / "embeddings" / "toadstool.safetensors"


@pytest.fixture(scope="module")
def reader() -> Iterator[ReaderProcess]:
    reader = ReaderProcess()
    yield reader
    reader.close()


def test_the_process_says_what_reading_here_says(reader: ReaderProcess):
    for path in (ROOT / "embeddings").glob("*.safetensors"):
        there, here = formats.inspect(path, reader=reader), formats.inspect(path)
        assert there.metadata == here.metadata and there.short_hash == here.short_hash
        assert there.format == here.format and there.size_bytes == here.size_bytes
        for one, other in zip(there.embeddings, here.embeddings, strict=True):
            assert one.content_hash == other.content_hash and one.inner_name == other.inner_name
            assert all(torch.equal(one.vectors[key], other.vectors[key]) for key in other.vectors)


def test_what_is_refused_there_is_refused_here_for_the_same_reason(
    reader: ReaderProcess, tmp_path: Path
):
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(formats.Refused, match="0 bytes"):
        formats.inspect(tmp_path / "empty.pt", reader=reader)
    with pytest.raises(formats.NoEmbedding):
        formats.inspect(ROOT / "embeddings" / "toadstool.preview.png", reader=reader)
    with pytest.raises(FileNotFoundError):
        formats.inspect(tmp_path / "gone.pt", reader=reader)
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(formats.Refused):
        formats.inspect(tmp_path / "pipe.pt", reader=reader)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_hostile_file_costs_its_own_card(reader: ReaderProcess, tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(EMBEDDINGS[name]())
    with pytest.raises(formats.Refused):
        formats.inspect(path, reader=reader)
    assert formats.inspect(HONEST, reader=reader).embeddings


@pytest.mark.parametrize(
    ("deed", "limits"),
    [("time.sleep(600)", {"patience_s": 1.0}), ("os._exit(1)", {}),
     ("os.kill(os.getpid(), 11)", {}), ("bytearray(1 << 31)", {}), ("1 / 0", {})],
    ids=["hangs", "exits", "crashes", "grows", "fails"],
)  # fmt: skip
def test_a_reader_that_a_file_ends_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, limits: dict[str, float]
):
    """A fault that nobody has thought of is put into the reader for one name."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "stat = Path.__fspath__\n"
        "def look(self):\n"
        "    if self.name == 'evil.pt':\n"
        f"        {deed}\n"
        "    return stat(self)\n"
        "Path.__fspath__ = look\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "evil.pt").write_bytes(b"\x80\x02}.")
    reader = ReaderProcess(**limits)
    begun = time.monotonic()
    with pytest.raises(formats.Refused):
        formats.inspect(tmp_path / "evil.pt", reader=reader)
    assert formats.inspect(HONEST, reader=reader).embeddings
    assert time.monotonic() - begun < 60
    reader.close()


class Failing(Here):
    """Answers with a fault each time."""

    def __init__(self, fault: type[BaseException]) -> None:
        self.fault = fault
        self.asked: list[str] = []

    def ask(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        self.asked.append(Path(str(arguments[0])).name)
        raise self.fault("Its reader was ended.")


def test_a_file_that_ended_its_reader_is_known_at_the_next_start(tmp_path: Path):
    folder = tmp_path / "embeddings"
    folder.mkdir()
    (folder / "evil.pt").write_bytes(b"\x80\x02}.")
    failing = Failing(Ended)
    for _ in range(2):
        library = EmbeddingLibrary([folder], tmp_path / "index.sqlite", failing)
        library.start()
        assert library.card("evil").problem == "Its reader was ended."
        library.stop()
    assert failing.asked == ["evil.pt"]


def test_a_file_that_ends_the_app_itself_is_left_alone_the_third_time(tmp_path: Path):
    """Of all that were read together, only the one that does it again."""
    folder = tmp_path / "embeddings"
    folder.mkdir()
    for name in ("a", "evil", "z"):
        shutil.copyfile(HONEST, folder / f"{name}.safetensors")

    class Killed(BaseException):
        """Stands for the end of the app, after which nothing more is written."""

    class Killing(Here):
        def ask_many(self, questions: Sequence[Question]) -> Iterator[Answer | Exception]:
            if any("evil" in question[1] for question in questions):
                raise Killed
            return super().ask_many(questions)

    for _ in range(2):
        library = EmbeddingLibrary([folder], tmp_path / "index.sqlite", Killing())
        with pytest.raises(Killed):
            library.start()
        library.stop()
    library = EmbeddingLibrary([folder], tmp_path / "index.sqlite", Killing())
    library.start()
    assert "The app ended twice" in library.card("evil").problem
    assert library.card("a").usable and library.card("z").usable
    library.stop()
    os.utime(folder / "evil.safetensors", (1, 1))
    library = EmbeddingLibrary([folder], tmp_path / "index.sqlite")
    library.start()
    assert library.card("evil").usable, "another file of the name is another file"
    library.stop()
