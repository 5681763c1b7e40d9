"""What is lost when the app is killed, the disk is full or the power is cut: nothing.

Training, installing, renaming, saving and throwing away are killed (SIGKILL) at moments of chance;
then all of it on a disk that is full from the first, second, … operation on; then with a power cut
at each operation, after which the disk holds only what was synced, and of the rest something by
chance.
After each, the app's own code opens what is left and compares it with what had been confirmed. A
broken-off training is resumed to its end and must learn the same to the last bit.
Run: python bench/faults.py
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.hostile.faulty_disks import ForgetfulDisk  # noqa: E402
from tests.hostile.scenarios import (  # noqa: E402
    CASES,
    Case,
    expected_outcome,
    killed,
    lost,
    quick,
    with_full_disk,
    with_power_cut,
    written_through,
)


def main() -> None:
    """Print a line for each kind of fault and each thing that was going on."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--most", type=int, default=100, help="operations of a case with faults")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    chosen = options.parse_args()
    logging.disable(logging.CRITICAL)
    expected_outcome()
    chance = random.Random(chosen.seed)
    print("| while | killed | lost | full disk | lost | power cut | lost |")
    print("|--|--:|--:|--:|--:|--:|--:|")
    for name in chosen.cases:
        case = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            kills = kill(case, Path(folder), chosen.kills // len(CASES), chance)
        full = each(case, chosen.most, with_full_disk)
        cuts = each(case, chosen.most, partial(with_power_cut, chance=chance))
        figures = [*kills, *full, *cuts]
        print(f"| {name} | " + " | ".join(f"{figure:,}" for figure in figures) + " |", flush=True)


def kill(case: Case, folder: Path, times: int, chance: random.Random) -> list[int]:
    """Kill a scenario so often at moments of chance; return how often, and what was lost."""
    begun = time.monotonic()
    killed(case, folder / "whole", 0.0)
    (folder / "timed").mkdir()
    case.run(folder / "timed", lambda *told: None)
    whole_s = time.monotonic() - begun
    count = missing = 0
    for number in range(3 * times):
        if count == times:
            break
        place = folder / str(number)
        story, before_end = killed(case, place, chance.uniform(0, whole_s))
        count += before_end
        missing += shown(lost(case, place, story))
    return [count, missing]


def each(
    case: Case, most: int, fault: Callable[[Case, Path, int], tuple[bool, list[str]]]
) -> list[int]:
    """Have a fault at each operation, or so many of them; return how many, and what was lost."""
    count = missing = 0
    with tempfile.TemporaryDirectory() as folder:
        total = operations(case, Path(folder) / "whole")
        for at in sorted({number * total // most for number in range(most)}):
            _, found = fault(quick(case), Path(folder) / str(at), at)
            missing += shown(found)
            count += 1
    return [count, missing]


def operations(case: Case, folder: Path) -> int:
    """Return how many operations of the disk a scenario takes."""
    folder.mkdir()
    disk = ForgetfulDisk(folder, 1 << 30)
    with written_through(disk):
        case.run(folder, lambda *told: None)
    return (1 << 30) - disk.left


def shown(found: list[str]) -> int:
    """Say what was lost; return how much."""
    for what in found:
        print(f"lost: {what}", file=sys.stderr)
    return len(found)


if __name__ == "__main__":
    main()
