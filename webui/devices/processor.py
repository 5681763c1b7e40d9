"""Whether this processor computes faster in bf16, by its instructions and by a short trial."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from webui.files import write_whole

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

TRIAL_S = 1.0
"""How long the trial takes, about."""
WORTH_IT = 0.9
"""At most this part of float32's time makes bf16 worth its rounding."""


def has_bf16_instructions() -> bool:
    """Whether the processor multiplies bf16 numbers in hardware (AVX512-BF16, AMX)."""
    import torch

    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def faster_in_bf16(cache: Path) -> bool:
    """Whether a large UNet is faster in bf16 here.

    ``cache`` is a JSON file that remembers the trial's result for this processor and torch.
    """
    if not has_bf16_instructions():
        return False
    key = _machine()
    known = _read(cache)
    if key not in known:
        known[key] = round(bf16_time_share(), 3)
        log.info("In bf16 this processor takes %.0f %% of float32's time.", 100 * known[key])
        try:
            write_whole(cache, json.dumps(known, indent=1))
        except OSError as error:
            log.warning("%s could not be written: %s", cache, error)
    return known[key] <= WORTH_IT


def bf16_time_share() -> float:
    """Time a convolution and a matrix product of SD 1.5's size; return bf16's part of float32's.

    The two take turns, and the quickest turn of each counts, so that other work on the machine
    disturbs both alike.
    """
    import torch

    with torch.inference_mode():
        works = {dtype: _work(dtype) for dtype in (torch.float32, torch.bfloat16)}
        quickest = dict.fromkeys(works, float("inf"))
        for work in works.values():
            work()
        end = time.perf_counter() + TRIAL_S
        while time.perf_counter() < end or float("inf") in quickest.values():
            for dtype, work in works.items():
                began = time.perf_counter()
                work()
                quickest[dtype] = min(quickest[dtype], time.perf_counter() - began)
    return quickest[torch.bfloat16] / quickest[torch.float32]


def _work(dtype: torch.dtype) -> Callable[[], None]:
    """Return what a block of the UNet mostly computes, at 256×256 pixels with guidance."""
    import torch
    from torch.nn.functional import conv2d

    places = torch.randn(2, 320, 32, 32).to(dtype)
    kernel = torch.randn(320, 320, 3, 3).to(dtype)
    rows, weight = torch.randn(2048, 320).to(dtype), torch.randn(320, 2560).to(dtype)

    def work() -> None:
        conv2d(places, kernel, padding=1)
        rows @ weight

    return work


def _machine() -> str:
    import torch

    able = torch.cpu.get_capabilities()
    names = able.get("cpu_name", ""), able.get("architecture", "")
    return " ".join(
        map(str, (*names, torch.get_num_threads(), "threads, torch", torch.__version__))
    )


def _read(cache: Path) -> dict[str, float]:
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    kept = found.items() if isinstance(found, dict) else ()
    return {str(key): float(share) for key, share in kept if isinstance(share, int | float)}
