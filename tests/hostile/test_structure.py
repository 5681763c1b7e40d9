"""Files broken in their structure are read or refused, and nothing in them is run."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

from tests.hostile.clock import within
from tests.hostile.structure import broken, put_together, seeds
from webui.embeddings import formats

TRIED = 400
"""Files; ``bench/hostile.py`` tries more."""


def test_whole_files_are_still_whole_when_put_together(tmp_path: Path):
    for name, pieces in seeds(tmp_path).items():
        (tmp_path / name).write_bytes(put_together(name, pieces))
        assert formats.inspect(tmp_path / name).embeddings


def test_broken_files_are_read_or_refused_in_time(tmp_path: Path):
    chance, wholes, mark = random.Random(1), seeds(tmp_path), tmp_path / "ran"
    for _ in range(TRIED):
        name = chance.choice(list(wholes))
        path = tmp_path / name
        path.write_bytes(broken(name, wholes[name], chance, mark))
        with within(5), suppress(formats.Refused):
            formats.inspect(path)
        assert not mark.exists()
