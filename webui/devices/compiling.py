"""Computations compiled in the background, which go on as they are until then."""

from __future__ import annotations

import copy
import logging
import threading
import time
import warnings
from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

log = logging.getLogger(__name__)

MOST_SHAPES = 8
"""For so many shapes of its inputs something is compiled; others are computed as before."""

Network = Callable[..., Any]
Module = TypeVar("Module", bound="nn.Module")


class Compiled:
    """Compiles a network, or a function of several, for each shape that it is called with, one at
    a time in the background.

    The weights are inputs of what is compiled: they may be changed in place or moved, and another
    network of the same architecture takes over what was compiled for the first. Modules must not
    be put in or taken out. What cannot be compiled goes on as it is, with a line in the log.
    """

    def __init__(
        self,
        network: Network,
        backend: str | Callable[..., Any] = "inductor",
        changed: Callable[[bool], None] = lambda compiling: None,
        what: str = "model",
        learns: bool = False,
    ) -> None:
        """``changed`` is told, in any thread, when compiling begins and when it has ended.

        ``what`` it is called in the log. One that ``learns`` computes gradients inside, though not
        by what it is given.
        """
        self.network, self.backend, self.changed = network, backend, changed
        self.failed = False
        """Whether it was given up; then nothing is tried again."""
        self._what, self._learns = what, learns
        self._lock = threading.Lock()
        self._ready: frozenset[Hashable] = frozenset()
        self._wanted: set[Hashable] = set()
        self._thread: threading.Thread | None = None
        self._graph: Network | None = None

    def now(self) -> Network:
        """Return what computes one picture: compiled for the shapes that are ready by now.

        Other shapes are computed as before until the end of that picture, and are ready later.
        """
        ready = self._ready

        def compute(*given: Any, **named: Any) -> Any:
            found = self._attempt(ready, given, named)
            return self.network(*given, **named) if found is None else found

        return compute

    def attempt(self, *given: Any) -> Any | None:
        """Return what is computed compiled, or None if that is not ready for these shapes; then
        compiling begins as soon as nothing else is being compiled."""
        return self._attempt(self._ready, given, {})

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for what is being compiled; returns whether any shape is ready."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return bool(self._ready)

    def _attempt(
        self, ready: frozenset[Hashable], given: tuple[Any, ...], named: dict[str, Any]
    ) -> Any | None:
        if self.failed:
            return None
        shapes = _shapes(given, named)
        if shapes in ready:
            try:
                return self._compute(given, named)
            except Exception as error:
                self._fail(error)
        elif shapes not in self._wanted:
            self._begin(shapes, given, named)
        return None

    def _begin(self, shapes: Hashable, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Start to compile for some shapes, unless something is being compiled now."""
        import torch

        with self._lock:
            if self._thread is not None or len(self._wanted) >= MOST_SHAPES:
                return
            self._wanted.add(shapes)
            self._thread = threading.Thread(
                target=self._compile,
                args=(shapes, *_each((given, named), torch.zeros_like)),
                name="compile",
                daemon=True,
            )
            self._thread.start()

    def _compile(self, shapes: Hashable, given: Any, named: Any) -> None:
        began = time.monotonic()
        what = self._what
        log.info("The %s is being compiled; meanwhile all goes on as without --compile.", what)
        self.changed(True)
        try:
            self._compute(given, named)
        except Exception as error:
            self._fail(error)
        else:
            self._ready |= {shapes}
            took = time.monotonic() - began
            log.info("The %s is compiled for this size of images after %.0f seconds.", what, took)
        self._thread = None
        self.changed(False)

    def _compute(self, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call what is compiled; nothing of the result is written over by the next call."""
        import torch

        if self._graph is None:
            # diffusers' functions that remember are looked into: they ask for torch's version
            warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
            how: dict[str, Any] = {
                "backend": self.backend,
                "mode": "reduce-overhead" if _on_cuda(given, named) else None,
                "recompile_limit": 4 * MOST_SHAPES,  # those of earlier models count, too
            }
            network = getattr(self.network, "forward", self.network)
            self._graph = torch.compile(network, fullgraph=True, dynamic=False, **how)
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        settings = {
            "error_on_nested_fx_trace": False,  # of another thread; this one then just computes
            "trace_autograd_ops": self._learns,
        }
        with ExitStack() as ways:
            ways.enter_context(torch.no_grad() if self._learns else torch.inference_mode())
            ways.enter_context(torch._dynamo.config.patch(settings))
            given, named = _each((given, named), _plain)
            return _each(self._graph(*given, **named), torch.clone)

    def _fail(self, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        self.give_up(f"compiling it failed: {reason[:300]}")

    def give_up(self, reason: str) -> None:
        """Compute nothing compiled from now on, and say so in the log."""
        self.failed = True
        log.warning("The %s goes on uncompiled, because %s", self._what, reason)


def shadow_of(network: Module) -> Module:
    """Return other modules with the same weights, so that what is put into them changes none of
    the network's."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def _on_cuda(given: Any, named: Any) -> bool:
    """Return whether any tensor is on a CUDA device."""
    found: list[bool] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor.is_cuda)
        return tensor

    _each((given, named), note)
    return any(found)


def _shapes(given: Any, named: Any) -> Hashable:
    """Return shape, type and device of all tensors, and all else as it is."""
    found: list[Hashable] = []

    def note(tensor: Tensor) -> Tensor:
        found.append((tensor.shape, tensor.dtype, tensor.device))
        return tensor

    _each((given, named), note)
    return tuple(found)


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor of the usual order in memory, made in this mode, of inference or not.

    What is compiled for such a one would be compiled anew for others.
    """
    import torch

    if tensor.is_inference() == torch.is_inference_mode_enabled() and tensor.is_contiguous():
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def _each(value: Any, work: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return a value with ``work`` done on each tensor in it."""
    import torch

    if isinstance(value, torch.Tensor):
        return work(value)
    if isinstance(value, Mapping):
        return {key: _each(item, work) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_each(item, work) for item in value)
    return value
