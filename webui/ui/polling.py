"""One timer a page: it sends what has changed on the server since this page last asked.

Nothing is held open per tab: no session, no stream. Each page keeps the versions it has seen in a
hidden component and gets only the outputs whose version differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

EVERY_S = 1.0


@dataclass(frozen=True)
class Watch:
    """Something on the server that pages show."""

    version: Callable[[], Any]
    """Returns a JSON value that differs whenever the outputs would."""
    render: Callable[[], Sequence[Any]]
    """Returns the new values of the outputs."""
    outputs: Sequence[gr.components.Component]


class Poll:
    """Collects what is to be watched and connects it to one timer and the page's loading."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []

    def watch(
        self,
        version: Callable[[], Any],
        render: Callable[[], Sequence[Any]],
        outputs: Sequence[gr.components.Component],
    ) -> None:
        """Keep ``outputs`` as ``render`` makes them, renewed when ``version`` differs."""
        self._watches.append(Watch(version, render, outputs))

    def on_change(
        self,
        version: Callable[[], Any],
        render: Callable[[], Sequence[Any]],
        outputs: Sequence[gr.components.Component],
    ) -> None:
        """Set ``outputs`` as ``render`` makes them once whenever ``version`` differs.

        For controls that people type into: each answer to the timer would otherwise take away the
        messages that stand at its outputs, even where it leaves their values as they are.
        """
        marker = gr.Textbox(visible="hidden")
        self.watch(version, lambda: [json.dumps(version())], [marker])
        marker.change(
            render,
            None,
            outputs,
            show_progress="hidden",
            queue=False,
            api_visibility="private",
        )

    def connect(self, demo: gr.Blocks) -> None:
        """Start polling; call once, inside the Blocks, after everything is watched."""
        seen = gr.JSON([], visible="hidden")
        outputs = [output for watch in self._watches for output in watch.outputs]
        quiet = {
            "show_progress": "hidden",
            "queue": False,
            "api_visibility": "private",
        }
        demo.load(lambda: self.changes([]), None, [seen, *outputs], **quiet)
        gr.Timer(EVERY_S).tick(self.changes, seen, [seen, *outputs], **quiet)

    def changes(self, seen: list[Any] | None) -> list[Any]:
        """Return the versions now and, per output, its new value or "leave as it is"."""
        now = [watch.version() for watch in self._watches]
        old = seen if seen and len(seen) == len(now) else [None] * len(now)
        if old == now:
            return [gr.skip()] * (1 + sum(len(watch.outputs) for watch in self._watches))
        values: list[Any] = [now]
        for watch, before, after in zip(self._watches, old, now, strict=True):
            fresh = before != after
            values += watch.render() if fresh else [gr.skip()] * len(watch.outputs)
        return values
