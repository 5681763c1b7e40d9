"""A network compiled in the background, which computes as it is until then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

log = logging.getLogger(__name__)

MOST_SHAPES = 8
"""For so many shapes of its inputs a network is compiled; others are computed as before."""

Network = Callable[..., Any]


class Compiled:
    """Compiles a network for each shape that it is called with, one at a time in the background.

    The weights are inputs of what is compiled: they may be changed in place or moved, and another
    network of the same architecture takes over what was compiled for the first. Modules must not
    be put in or taken out. What cannot be compiled goes on as it is, with a line in the log.
    """

    def __init__(
        self,
        network: nn.Module,
        backend: str | Callable[..., Any] = "inductor",
        changed: Callable[[bool], None] = lambda compiling: None,
    ) -> None:
        """``changed`` is told, in any thread, when compiling begins and when it has ended."""
        self.network = network
        self._backend, self._changed = backend, changed
        self._lock = threading.Lock()
        self._ready: frozenset[Hashable] = frozenset()
        self._wanted: set[Hashable] = set()
        self._thread: threading.Thread | None = None
        self._graph: Network | None = None
        self._failed = False

    def now(self) -> Network:
        """Return what computes one picture: compiled for the shapes that are ready by now.

        Other shapes are computed as before until the end of that picture, and are ready later.
        """
        ready = self._ready

        def compute(*given: Any, **named: Any) -> Any:
            shapes = _shapes(given, named)
            if shapes in ready and not self._failed:
                try:
                    return self._compute(given, named)
                except Exception as error:
                    self._fail(error)
            elif not (self._failed or shapes in self._wanted):
                self._begin(shapes, given, named)
            return self.network(*given, **named)

        return compute

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for what is being compiled; returns whether any shape is ready."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return bool(self._ready)

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
        log.info("The model is being compiled; meanwhile images are drawn as without --compile.")
        self._changed(True)
        try:
            self._compute(given, named)
        except Exception as error:
            self._fail(error)
        else:
            self._ready |= {shapes}
            took = time.monotonic() - began
            log.info("The model is compiled for this size of images after %.0f seconds.", took)
        self._thread = None
        self._changed(False)

    def _compute(self, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call what is compiled; nothing of the result is written over by the next call."""
        import torch

        if self._graph is None:
            cuda = next(self.network.parameters()).is_cuda
            how: dict[str, Any] = {
                "backend": self._backend,
                "mode": "reduce-overhead" if cuda else None,
                "recompile_limit": 4 * MOST_SHAPES,  # those of earlier models count, too
            }
            self._graph = torch.compile(self.network.forward, fullgraph=True, dynamic=False, **how)
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with torch.inference_mode():
            given, named = _each((given, named), _plain)
            return _each(self._graph(*given, **named), torch.clone)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("The model goes on uncompiled, because compiling it failed: %s", reason[:300])


def _shapes(given: Any, named: Any) -> Hashable:
    """Return shape, type and device of all tensors, and all else as it is."""
    found: list[Hashable] = []

    def note(tensor: Tensor) -> Tensor:
        found.append((tensor.shape, tensor.dtype, tensor.device))
        return tensor

    _each((given, named), note)
    return tuple(found)


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor of the usual order in memory, made in inference mode.

    What is compiled for such a one would be compiled anew for others.
    """
    import torch

    if tensor.is_inference() and tensor.is_contiguous():
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
