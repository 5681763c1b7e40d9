"""Whatever ends the app or fills the disk, what was confirmed is there; more in bench/faults.py."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.hostile.scenarios import CASES, killed, lost, quick, with_full_disk, with_power_cut

QUICK = ("installing", "renaming", "saving", "throwing away")


@pytest.mark.parametrize("name", QUICK)
def test_a_power_cut_costs_nothing_that_was_confirmed(tmp_path: Path, name: str):
    chance = random.Random(name)
    for number in range(4):
        _, found = with_power_cut(CASES[name], tmp_path / str(number), chance.randrange(60), chance)
        assert not found


@pytest.mark.parametrize("name", QUICK)
def test_a_full_disk_is_said_in_words_and_costs_nothing(tmp_path: Path, name: str):
    chance = random.Random(name)
    for number in range(3):
        reached, found = with_full_disk(
            CASES[name], tmp_path / str(number), chance.randrange(2, 16)
        )
        assert reached and not found


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_kill_at_any_moment_costs_nothing_that_was_confirmed(tmp_path: Path, name: str):
    chance = random.Random(name)
    for number in range(4):
        place = tmp_path / str(number)
        story, _ = killed(CASES[name], place, chance.uniform(0, 2 if name == "training" else 0.3))
        assert not lost(CASES[name], place, story)


@pytest.mark.slow
def test_a_training_survives_a_power_cut_and_a_full_disk(tmp_path: Path):
    chance, case = random.Random(1), quick(CASES["training"])
    for number in range(4):
        place = tmp_path / str(number)
        place.mkdir()
        assert not with_power_cut(case, place / "cut", chance.randrange(80), chance)[1]
        assert not with_full_disk(case, place / "full", chance.randrange(40))[1]
