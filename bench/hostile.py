"""Embedding files broken in their structure by chance: how many hang, grow, crash or run something.

Valid files of every format are taken apart (operations of the pickle, JSON of the header, chunks
of the PNG), one to five pieces are changed, and each file goes through the process that the app
reads files with. A reader that ends, a file that takes long, memory that grows, and a folder that
a changed pickle would make if anything in it were run are counted; those should be zero.
Run: python bench/hostile.py --seconds 60
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.hostile.structure import broken, seeds  # noqa: E402
from webui.embeddings import formats  # noqa: E402
from webui.reader_process import ENDED, ReaderProcess  # noqa: E402

LONG_S = 5.0
MUCH_BYTES = 300 << 20
"""More than this above its start is growth."""


def main() -> None:
    """Print what became of the files that were tried."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = tried(Path(folder), chosen.seconds, random.Random(chosen.seed))
    print("| " + " | ".join(counts) + " |\n" + "|--:" * len(counts) + "|")
    print("| " + " | ".join(f"{count:,}" for count in counts.values()) + " |")


def tried(folder: Path, seconds: float, chance: random.Random) -> dict[str, int]:
    """Send broken files to the reader for so long; return how many became what."""
    wholes, mark = seeds(folder), folder / "ran"
    counts = dict.fromkeys(("tried", "read", "refused", "hung", "grew", "crashed", "ran"), 0)
    reader = ReaderProcess(patience_s=LONG_S)
    formats.inspect(folder / next(iter(wholes)), reader=reader)
    usual = memory_bytes()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name = chance.choice(list(wholes))
        (folder / name).write_bytes(broken(name, wholes[name], chance, mark))
        begun = time.monotonic()
        try:
            formats.inspect(folder / name, reader=reader)
            counts["read"] += 1
        except formats.Refused as refused:
            late = time.monotonic() - begun >= LONG_S
            counts["refused"] += 1
            counts["hung"] += refused.reason == ENDED and late
            counts["crashed"] += refused.reason == ENDED and not late
        counts["tried"] += 1
        counts["grew"] += memory_bytes() > usual + MUCH_BYTES
        counts["ran"] += mark.exists()
    reader.close()
    return counts


def memory_bytes() -> int:
    """Return the memory of the processes that this one has started."""
    return sum(child.memory_info().rss for child in psutil.Process().children())


if __name__ == "__main__":
    main()
