"""How fast the embedding library starts and follows changes, beside reading every file.

Reading every file is what AUTOMATIC1111 does at its start and again at each change; here it is
timed as the bare weights-only reading of torch, without the checks and hashes that come on top.
Each figure of a start is from a process of its own, and the first start pays for importing torch.
How soon an open page shows a change comes last, from ``bench/page.py``, which needs Chromium.
Run: python bench/library.py
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webui.embeddings.library import EmbeddingLibrary

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

VECTORS = 4
CHANGES = 20
MANY = 1_000


def main() -> None:
    """Print one table row per number of files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--counts", type=int, nargs="+", default=[100, 1_000, 10_000])
    options.add_argument("--task", choices=sorted(TASKS), help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.task:
        figures = TASKS[chosen.task](chosen.folder)
        figures["peak_mib"] = peak_mib()
        print(json.dumps(figures))
        return
    print(
        "Starts: until all names are usable. Changes: from the last byte until the vectors are "
        "there. A new file is read twice: once for its card, once for its vectors."
    )
    print(
        "| files | read every file | first start | later start | new file, median (worst) "
        "| overwritten | removed | 1,000 at once | files read for a new one "
        "| peak memory, later start |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for count in chosen.counts:
        with tempfile.TemporaryDirectory() as parent:
            row(Path(parent), count)
    print("\nFrom the last byte until the card is in an open page, and typing:", flush=True)
    page = [sys.executable, str(Path(__file__).with_name("page.py")), "--counts"]
    subprocess.run([*page, *map(str, chosen.counts)], check=True)


def row(parent: Path, count: int) -> None:
    """Measure and print one line."""
    fill(parent / "embeddings", count)
    every = run("every", parent)
    cold = run("start", parent)
    warm = min((run("start", parent) for _ in range(3)), key=lambda figures: figures["start_s"])
    changes = run("changes", parent)
    print(
        f"| {count:,} | {every['seconds']:.2f} s | {cold['start_s']:.2f} s "
        f"| {warm['start_s']:.2f} s "
        f"| {changes['new_s']:.2f} s ({changes['new_worst_s']:.2f} s) "
        f"| {changes['overwritten_s']:.2f} s | {changes['removed_s']:.2f} s "
        f"| {changes['many_s']:.2f} s "
        f"| {changes['files_read']:.0f} | {warm['peak_mib']:.0f} MiB |",
        flush=True,
    )


def fill(folder: Path, count: int) -> None:
    """Write ``count`` different files, half .pt as of A1111, half .safetensors, in 10 folders."""
    import torch

    from webui.embeddings import formats
    from webui.embeddings.embedding import Embedding

    for number in range(count):
        made = Embedding(f"embedding-{number}", {"clip_l": torch.randn(VECTORS, 768)})
        place = folder / f"folder-{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        if number % 2:
            formats.write(made, place / f"{made.name}.pt", "a1111")
        else:
            formats.write(made, place / f"{made.name}.safetensors", "safetensors")


def read_every_file(parent: Path) -> dict[str, float]:
    """Read all files as plainly as can be."""
    import torch
    from safetensors.torch import load_file

    started = time.perf_counter()
    for path in (parent / "embeddings").rglob("*.*"):
        if path.suffix == ".pt":
            torch.load(path, map_location="cpu", weights_only=True)
        else:
            load_file(path)
    return {"seconds": time.perf_counter() - started}


def start(parent: Path) -> dict[str, float]:
    """Start a library; the first time there is no index yet."""
    from webui.embeddings.library import EmbeddingLibrary
    from webui.reader_process import shared_reader

    started = time.perf_counter()
    library = EmbeddingLibrary([parent / "embeddings"], parent / "index.sqlite", shared_reader())
    library.start()
    count = len(library.names())
    seconds = time.perf_counter() - started
    library.stop()
    expected = sum(1 for path in (parent / "embeddings").rglob("*.*") if path.is_file())
    assert count == expected, f"{count} of {expected} files are usable"
    return {"start_s": seconds}


def changes(parent: Path) -> dict[str, float]:
    """Copy in, overwrite and remove files while a library runs."""
    import torch

    from webui.embeddings import formats
    from webui.embeddings.embedding import Embedding
    from webui.embeddings.library import EmbeddingLibrary
    from webui.reader_process import Answer, Question, ReaderProcesses

    read: list[object] = []

    class Counting(ReaderProcesses):
        def ask_many(self, questions: Sequence[Question]) -> Iterator[Answer | Exception]:
            read.extend(questions)
            return super().ask_many(questions)

    library = EmbeddingLibrary([parent / "embeddings"], parent / "index.sqlite", Counting())
    library.start()
    times: dict[str, list[float]] = {"new": [], "overwritten": [], "removed": []}
    sources = []
    for number in range(2 * CHANGES):
        sources.append(parent / f"source-{number}.pt")
        made = Embedding("x", {"clip_l": torch.randn(VECTORS, 768)})
        formats.write(made, sources[-1], "a1111")
    for number in range(CHANGES):
        name, target = f"new-{number}", parent / "embeddings" / "folder-3" / f"new-{number}.pt"
        shutil.copyfile(sources[number], target)
        times["new"].append(seconds_until(lambda name=name: library.get(name)))
        before = library.get(name).content_hash
        shutil.copyfile(sources[CHANGES + number], target)
        times["overwritten"].append(
            seconds_until(lambda name=name, b=before: library.get(name).content_hash != b)
        )
        os.unlink(target)
        times["removed"].append(seconds_until(lambda name=name: library.card(name) is None))
    few_read = len(read)
    for number in range(MANY):
        shutil.copyfile(sources[0], parent / "embeddings" / f"many-{number}.pt")
    many_s = seconds_until(lambda: library.get(f"many-{MANY - 1}") and all_there(library))
    library.stop()
    return {
        **{f"{kind}_s": statistics.median(seconds) for kind, seconds in times.items()},
        "new_worst_s": max(times["new"]),
        "many_s": many_s,
        "files_read": few_read / (2 * CHANGES),
    }


def all_there(library: EmbeddingLibrary) -> bool:
    """Say whether all files that were copied in together are usable."""
    return sum(name.startswith("many-") for name in library.names()) == MANY


def seconds_until(condition: Callable[[], object]) -> float:
    """Wait until something is so; return how long it took."""
    started = time.perf_counter()
    while not condition():
        time.sleep(0.002)
        assert time.perf_counter() - started < 60, "it never came"
    return time.perf_counter() - started


def peak_mib() -> float:
    """Return the most memory this process ever had, in MiB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run(task: str, folder: Path) -> dict[str, float]:
    """Run a task in a process of its own and return its figures."""
    command = [sys.executable, __file__, "--task", task, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


TASKS: dict[str, Callable[[Path], dict[str, float]]] = {
    "every": read_every_file,
    "start": start,
    "changes": changes,
}


if __name__ == "__main__":
    main()
