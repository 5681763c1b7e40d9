"""How the time to read hostile input grows with it: four times as much must not take much more.

    python bench/hostile_input.py

Each line reads something that is made to be slow, and the same four times as large. A reader that
looks at every byte once takes four times as long; one that refuses by the header alone, no longer.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from webui.embeddings import formats  # noqa: E402
from webui.generation.metadata.infotext import read_infotext  # noqa: E402

ROUNDS = 3
TIMES = 4


def read_text(text: str) -> None:
    """Read a parameters text whose last line is hostile."""
    read_infotext(f"a cat\n{text}")


def read_file(content: bytes, size_bytes: int = 0) -> None:
    """Read a file as an embedding, filled up with a hole to ``size_bytes``."""
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        file.write(content)
        file.truncate(max(size_bytes, len(content)))
        file.flush()
        with suppress(formats.Refused, formats.NoEmbedding):
            formats.read(Path(file.name))


def bomb(members: int) -> bytes:
    """Return a zip file that unpacks to ten megabytes a member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(members):
            archive.writestr(f"archive/data/{number}", b"\0" * (10 << 20))
    return buffer.getvalue()


def header(tensors: int) -> bytes:
    """Return the beginning of a safetensors file of a whole model."""
    entries = {
        f"model.{number}.weight": {
            "dtype": "F32",
            "shape": [1024, 1024],
            "data_offsets": [number << 22, number + 1 << 22],
        }
        for number in range(tensors)
    }
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


def cases() -> Iterator[tuple[str, Callable[[int], Callable[[], None]]]]:
    """Yield a name each, and what makes the reading of input of a size."""
    for piece in ("a", "a:{", " ", 'a:"\\",', "a b:"):
        yield f"parameters {piece!r}", lambda n, piece=piece: partial(read_text, piece * n * 20_000)
    for start in (b"", b"\x80\x02}q\x00(", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"):
        yield f"hole after {start[:4]!r}", lambda n, start=start: partial(read_file, start, n << 30)
    yield "zip bomb", lambda n: partial(read_file, bomb(7 * n))
    yield "model header", lambda n: partial(read_file, header(200 * n), 4 << 30)


def best_s(run: Callable[[], None]) -> float:
    """Return the shortest of some rounds."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times)


def main() -> None:
    """Print a line for each kind of input."""
    print(f"{'input':<24} {'ms':>9} {f'{TIMES} times it':>12} {'ratio':>7}")
    for name, make in cases():
        small, large = best_s(make(1)), best_s(make(TIMES))
        print(f"{name:<24} {1000 * small:9.2f} {1000 * large:12.2f} {large / small:7.1f}")


if __name__ == "__main__":
    main()
