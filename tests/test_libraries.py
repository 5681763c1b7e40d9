"""The large libraries can be asked for by several threads at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_threads_that_import_networks_at_once_get_whole_modules():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "bench/starts.py", "--starts", "3"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
