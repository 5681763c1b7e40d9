"""``download`` in a terminal, from a server that answers like Hugging Face."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, write_tiny_checkpoint
from tests.hub import serving


def download(repo_id: str, models: Path, endpoint: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "webui", "download", repo_id, "--models-dir", str(models)],
        cwd=ROOT,
        env=os.environ | {"HF_ENDPOINT": endpoint},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.slow
def test_a_model_is_downloaded_or_it_is_said_why_not(tmp_path: Path):
    write_tiny_checkpoint(tmp_path / "hub" / "someone" / "tiny")
    models = tmp_path / "models"
    with serving(tmp_path / "hub") as hub:
        done = download("someone/tiny", models, hub.url)
        assert done.returncode == 0, done.stderr
        assert "29 MB" in done.stdout and f"{models / 'tiny'} is there" in done.stdout
        again = download("someone/tiny", models, hub.url)
        nothing = download("someone/nothing", models, hub.url)
    assert again.returncode == nothing.returncode == 1
    assert again.stderr == "tiny is in models/ already.\n"
    assert nothing.stderr.startswith("There is no model someone/nothing at 127.0.0.1")
    assert "Traceback" not in nothing.stderr
