"""The large libraries can be asked for by several threads at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
START = """
import sys, threading
sys.setswitchinterval(1e-4)
import torch
wrong = []
def run(code):
    try:
        exec(code, {})
    except BaseException as error:
        wrong.append(error)
threads = [threading.Thread(target=run, args=(code,)) for code in (
    "import webui.generation.sampling.solvers",
    "import webui.training.denoising, webui.devices.low_precision",
    "from webui.libraries import AutoencoderKL, UNet2DConditionModel",
    "import webui.training.setup",
    "from webui.libraries import CLIPTextModel, CLIPTokenizer",
)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(repr(wrong) if wrong else 0)
"""


@pytest.mark.slow
def test_threads_that_import_networks_at_once_get_whole_modules():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
