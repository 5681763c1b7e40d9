"""The peak of a GPU's memory, computed without one: `python bench/memory.py`.

Models of the true sizes without weights draw and learn on PyTorch's meta device, which knows the
shape of every number and holds none. All storages that live there are counted; attention is the
kind that keeps no table of all pairs, as on CUDA. What is not counted: CUDA's own memory (about
0.5 GiB), the workspaces of its libraries, and what its allocator cannot use of free blocks.
"""

from __future__ import annotations

import argparse
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.fx.experimental import _config as shape_config  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from bench.generation import NoEmbeddings  # noqa: E402
from bench.gpu import Build, random_model, setup_of  # noqa: E402
from webui.generation.engine import generate  # noqa: E402
from webui.generation.request import checked, default_request  # noqa: E402
from webui.models import offloading  # noqa: E402
from webui.models.loader import offloaded  # noqa: E402
from webui.models.model import Model  # noqa: E402
from webui.prompting.conditioning import Conditioner  # noqa: E402
from webui.training.trainer import begin, queue_step  # noqa: E402

CPU, META = torch.device("cpu"), torch.device("meta")
GIB = 2**30
BLOCK = 512
"""CUDA's allocator hands out multiples of so many bytes."""


@dataclass(frozen=True)
class Row:
    """The most memory that something takes at once."""

    what: str
    peak_gib: float
    goal_gib: float | None = None

    def __str__(self) -> str:
        goal = "" if self.goal_gib is None else f"{self.goal_gib:g}"
        return f"| {self.what} | {self.peak_gib:.2f} | {goal} |"


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **more: Any) -> Tensor:
    """The attention that CUDA takes; the meta device would take the plain product."""
    found = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, None, torch.is_grad_enabled(), 0.0, bool(more.get("is_causal"))
    )
    return found[0]


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of all storages that live on the meta device."""

    def __init__(self, model: Model) -> None:
        """``model`` is on the device, but for what of it waits in main memory."""
        super().__init__()
        self._sizes: dict[int, int] = {}
        self._elsewhere: set[int] = set()
        self._live = self.peak = 0
        self._attention = patch.object(functional, "scaled_dot_product_attention", _attention)
        # a mask of what is chosen cannot be looked at, and is taken for all
        self._masks = shape_config.patch(meta_nonzero_assume_all_nonzero=True)
        parts = [model.unet, model.vae, *(each.model for each in model.text_encoders)]
        weights = [each for part in parts for each in (*part.parameters(), *part.buffers())]
        here = [each.vocabulary.weight for each in model.text_encoders]
        for tensor in here if model.offloading else weights:
            self._note(tensor)
        self._elsewhere = {each.untyped_storage()._cdata for each in weights} - self._sizes.keys()

    def __enter__(self) -> PeakMemory:
        super().__enter__()
        self._attention.__enter__()
        self._masks.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._masks.__exit__(*raised)
        self._attention.__exit__(*raised)
        super().__exit__(*raised)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        if args and isinstance(args[0], Tensor) and args[0].device == META:
            if name in ("_local_scalar_dense", "item", "is_nonzero"):
                return args[0].dtype == torch.bool or 1  # what is asked for is finite, or there
            if name in ("_to_copy", "to") and CPU in tree_leaves((args, kwargs)):
                return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        found = function(*args, **kwargs)
        for each in tree_leaves(found):
            if isinstance(each, Tensor):
                self._note(each)
        return found

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if tensor.device != META or key in self._sizes or key in self._elsewhere:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._sizes[key] = size
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._live -= self._sizes.pop(key)


def drawing(model: Model, batch: int, steps: int = 2) -> float:
    """Return the peak of drawing a batch, in GiB."""
    hints = model.defaults | {"steps": steps, "sampler": "Euler"}
    request = checked(default_request(hints, prompt="a cat", negative_prompt="a dog", seed=1))
    with PeakMemory(model) as memory, patch.object(offloading._Part, "bring", _bring):
        for _ in generate(model, replace(request, batch_size=batch), NoEmbeddings(), Conditioner()):
            pass
    return memory.peak / GIB


def training(model: Model, batch: int, checkpointing: bool) -> float:
    """Return the peak of encoding the images and of two steps, in GiB."""
    with PeakMemory(model) as memory:
        setup = setup_of(model, batch)
        recipe = replace(setup.recipe, gradient_checkpointing=checkpointing)
        setup = replace(setup, recipe=recipe)
        progress = begin(setup)
        for _ in range(2):
            queue_step(setup, progress)
    return memory.peak / GIB


def _bring(part: Any, device: torch.device) -> None:
    """Take the place of ``Offloading``'s way to the device: all of it is the meta device here."""
    with torch.inference_mode(False), torch.no_grad():
        for tensor in part.weights():
            if id(tensor) not in part._home:
                part._home[id(tensor)] = tensor.data
                tensor.data = torch.empty_like(tensor.data)


GOALS: dict[tuple[str, str], float] = {
    ("sd1", "training, batch 1"): 4,
    ("sdxl", "training, batch 1, gradient checkpointing"): 12,
    ("sdxl", "drawing, batch 1, --offload model"): 6,
    ("sdxl", "drawing, batch 1, --offload sequential"): 6,
}
"""In GiB, by family and what is done."""


def rows_of(family: str, batches: Sequence[int], build: Build) -> Iterator[Row]:
    """Compute all that is asked of one family."""
    made: list[tuple[str, Callable[[], float]]] = []
    model = build(family, META)
    for batch in batches:
        for offload in ("none", "model", "sequential"):
            what = f"drawing, batch {batch}" + f", --offload {offload}" * (offload != "none")
            made.append((what, lambda b=batch, o=offload: drawing(_placed(family, o, build), b)))
        for saved in (False, True):
            what = f"training, batch {batch}" + ", gradient checkpointing" * saved
            made.append((what, lambda b=batch, s=saved: training(build(family, META), b, s)))
    name = f"{model.name.partition(',')[0]}, {model.defaults['width']}²"
    for what, compute in made:
        yield Row(f"{name}: {what}", compute(), GOALS.get((family, what)))


def _placed(family: str, offload: str, build: Build) -> Model:
    return offloaded(build(family, META), META, offload)


def main(arguments: Sequence[str] | None = None, build: Build = random_model) -> list[Row]:
    """Compute, print the table, and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--families", nargs="+", default=["sd1", "sdxl"], choices=("sd1", "sdxl"))
    add("--batches", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args(arguments)
    print("| | peak, GiB | goal |\n|---|---|---|")
    rows = []
    for family in options.families:
        for row in rows_of(family, options.batches, build):
            print(row, flush=True)
            rows.append(row)
    return rows


if __name__ == "__main__":
    main()
