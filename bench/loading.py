"""How long a model takes to load, beside reading its file once: `python bench/loading.py`.

A single file of Stable Diffusion 1.5's size is written with random weights in fp16, loaded in the
precision asked for, and read into memory of its own, in turns; the system has the file in its
cache, as after a copy or a download. First comes the most memory while loading in a process of its
own, against the weights that stay.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from bench.gpu import random_model  # noqa: E402
from tests.models.conftest import original_layout  # noqa: E402
from webui.models.catalog import Checkpoint  # noqa: E402
from webui.models.loader import load  # noqa: E402
from webui.models.model import Model  # noqa: E402
from webui.models.single_file import CONFIGS  # noqa: E402

CPU = torch.device("cpu")


def write(path: Path) -> None:
    """Write the file."""
    model = random_model("sd1", CPU)
    parts = {
        "unet": model.unet.state_dict(),
        "vae": model.vae.state_dict(),
        "text_encoder": model.text_encoders[0].model.state_dict(),
    }
    state = original_layout("sd1", parts, CONFIGS / "sd1")
    whole = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    save_file({name: tensor.contiguous() for name, tensor in whole.items()}, path)


def resident_gib(line: str) -> float:
    """Return a line of this process's memory, in GiB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{line}:")[1].split()[0]) / 2**20


def seconds(work: Callable[[], object]) -> float:
    """Return how long ``work`` takes; what it returns is let go first."""
    began = time.perf_counter()
    kept = work()
    took = time.perf_counter() - began
    del kept
    gc.collect()
    return took


def memory(loaded: Callable[[], Model]) -> None:
    """Load once and print the peak, which counts what is imported meanwhile."""
    before = resident_gib("VmRSS")
    model = loaded()
    parts = (model.unet, model.vae, *(encoder.model for encoder in model.text_encoders))
    weights = sum(each.nbytes for part in parts for each in part.state_dict().values()) / 2**30
    peak = resident_gib("VmHWM") - before
    print(f"weights {weights:.2f} GiB, at most {peak:.2f} GiB: {peak / weights:.2f} times as much")


def times(loaded: Callable[[], object], path: Path, rounds: int) -> None:
    """Load and read in turns and print the medians."""
    seconds(loaded)  # imports, and the hash, which is remembered
    both = [(seconds(loaded), seconds(path.read_bytes)) for _ in range(rounds)]
    ratio = statistics.median(one / other for one, other in both)
    load_s, read_s = (statistics.median(each) for each in zip(*both, strict=True))
    print(f"loading {load_s:.2f} s, reading {read_s:.2f} s: {ratio:.2f} times as long")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--file", type=Path, help="where it is kept, if it is to be")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "random.safetensors"
        if not path.exists():
            write(path)
        cache, dtype = Path(folder) / "hashes.json", getattr(torch, options.dtype)

        def loaded() -> Model:
            return load(Checkpoint("random", path), CPU, dtype, hash_cache=cache)

        if options.memory:
            memory(loaded)
            return
        alone = [sys.executable, __file__, "--memory", "--dtype", options.dtype]
        subprocess.run([*alone, "--file", str(path)], check=True)
        times(loaded, path, options.rounds)


if __name__ == "__main__":
    main()
