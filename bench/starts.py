"""How often threads that import the large libraries at once are handed modules that are half there.

The model's thread and the page's ask for diffusers and transformers at the same moment when the app
starts. Here five threads do in each of many processes, which begin with nothing but torch imported
and switch between threads a hundred times as often as usual. What went wrong is printed; it should
be nothing. Run: python bench/starts.py --starts 100
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SWITCH_S = 5e-5
IMPORTS = (
    "import webui.generation.sampling.solvers",
    "import webui.training.denoising, webui.devices.low_precision",
    "from webui.libraries import AutoencoderKL, UNet2DConditionModel",
    "import webui.training.setup",
    "from webui.libraries import CLIPTextModel, CLIPTokenizer",
)


def main() -> None:
    """Start so often and print how often it went wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--starts", type=int, default=100)
    options.add_argument("--at-once", type=int, default=2)
    chosen = options.parse_args()
    import torch  # noqa: F401 - not what is looked at, and it takes longest

    begun, failed, running = time.monotonic(), 0, 0
    for number in range(chosen.starts + chosen.at_once):
        if running == chosen.at_once or number >= chosen.starts:
            failed += os.wait()[1] != 0
            running -= 1
        if number < chosen.starts:
            start()
            running += 1
    seconds = (time.monotonic() - begun) / chosen.starts
    print(f"{chosen.starts} starts of {seconds:.1f} s, {failed} failed")
    sys.exit(failed > 0)


def start() -> None:
    """Begin a process whose threads import at once; it ends with 1 if one of them failed."""
    if os.fork():
        return
    wrong: list[BaseException] = []
    sys.setswitchinterval(SWITCH_S)
    warnings.simplefilter("ignore")
    together = threading.Barrier(len(IMPORTS))

    def run(code: str) -> None:
        together.wait()
        try:
            exec(code, {})
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(code,)) for code in IMPORTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in wrong:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(bool(wrong))


if __name__ == "__main__":
    main()
