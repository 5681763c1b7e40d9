"""One timer a page: it asks whether anything has changed on the server, and then gets just that.

Nothing is held open per tab: no session, no stream. Each page keeps the versions it has seen in a
hidden component. Its script asks for those that are now, which is cheap on both sides; only where
they differ does an event of Gradio, which costs thirty times as much, bring the outputs whose
version differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

EVERY_S = 1.0
_ASK = """async (seen, wanted, ...keys) => {
    try {
        const answer = await fetch("page-versions", {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify({keys}),
        });
        const now = JSON.stringify(await answer.json());
        return answer.ok && now !== JSON.stringify(seen) ? wanted + 1 : wanted;
    } catch {
        return wanted;
    }
}"""
_SET_UNCHANGED = """(wish, given, ...now) =>
    wish ? [wish, ...now.map((value, place) => value === given[place] ? wish[place] : value)]
         : [given, ...now]"""


@dataclass(frozen=True)
class Watch:
    """Something on the server that pages show."""

    version: Callable[..., Any]
    """Returns a JSON value that differs whenever the outputs would."""
    render: Callable[..., Mapping[Component, Any]]
    """Returns the new values of those outputs that change."""
    outputs: Sequence[Component]
    key: Component | None = None
    """A hidden component of the page whose value ``version`` and ``render`` are given."""


class Poll:
    """Collects what is to be watched and connects it to one timer and the page's loading."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []

    def watch(
        self,
        version: Callable[[], Any],
        render: Callable[[], Sequence[Any]],
        outputs: Sequence[Component],
    ) -> None:
        """Keep ``outputs`` as ``render`` makes them, renewed when ``version`` differs."""
        self._watches.append(
            Watch(version, lambda: dict(zip(outputs, render(), strict=True)), outputs)
        )

    def follow(
        self,
        key: Component,
        version: Callable[[Any], Any],
        render: Callable[[Any], Mapping[Component, Any]],
        outputs: Sequence[Component],
    ) -> None:
        """Keep ``outputs`` as ``render`` makes them of what this page has in ``key``.

        ``version`` and ``render`` are given the component's value; the page chooses by it what it
        wants to see. ``render`` returns the new values by component.
        """
        self._watches.append(Watch(version, render, outputs, key))

    def suggest(
        self,
        values: Callable[[], list[Any] | None],
        controls: Sequence[Component],
    ) -> gr.JSON:
        """Set ``controls`` to ``values()`` whenever those differ, except what people have changed.

        A control counts as changed while it differs from what was suggested last. The page
        decides that itself in the moment in which it sets them, so nothing that is typed while
        the answer is on its way is lost; and as the controls are no outputs of the timer, the
        messages that stand at them stay.

        Returns what holds the values suggested last, a list in the order of ``controls``. Whoever
        sets controls for a person puts None in their places, which makes them count as changed.
        """
        wish = gr.JSON(visible="hidden")
        given = gr.JSON([control.value for control in controls], visible="hidden")
        self.watch(values, lambda: [values()], [wish])
        wish.change(
            None,
            [wish, given, *controls],
            [given, *controls],
            js=_SET_UNCHANGED,
            show_progress="hidden",
            api_visibility="private",
        )
        return given

    def connect(self, demo: gr.Blocks) -> None:
        """Start polling; call once, inside the Blocks, after everything is watched."""
        seen = gr.JSON([], visible="hidden")
        wanted = gr.Number(0, visible="hidden")
        outputs = [output for watch in self._watches for output in watch.outputs]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        keys = [watch.key for watch in self._watches if watch.key is not None]

        def answer(before: list[Any] | None, *values: Any) -> Any:
            now, changed = self.changes(before, *values)
            return gr.skip() if now == before else {seen: now, **changed}

        demo.load(lambda *values: answer([], *values), keys, [seen, *outputs], queue=False, **quiet)
        gr.Timer(EVERY_S).tick(None, [seen, wanted, *keys], [wanted], js=_ASK, **quiet)
        wanted.change(answer, [seen, *keys], [seen, *outputs], queue=False, **quiet)

    def versions(self, keys: Sequence[Any]) -> list[Any]:
        """Return the versions now; ``keys`` are the values of the page's own components, in the
        order of the watches. Raises ValueError if they are not as many."""
        return [watch.version(*key) for watch, key in self._given(keys)]

    def changes(self, seen: list[Any] | None, *keys: Any) -> tuple[list[Any], dict[Component, Any]]:
        """Return the versions now, and the new values of the outputs that have changed.

        ``keys`` are the values of the pages' own components, in the order of the watches.
        """
        calls = self._given(keys)
        now = [watch.version(*key) for watch, key in calls]
        old = seen if seen and len(seen) == len(now) else [None] * len(now)
        changed: dict[Component, Any] = {}
        for (watch, key), before, after in zip(calls, old, now, strict=True):
            if before != after:
                changed |= watch.render(*key)
        return now, changed

    def _given(self, keys: Sequence[Any]) -> list[tuple[Watch, tuple[Any, ...]]]:
        """Return each watch with what its functions are called with."""
        following = [watch for watch in self._watches if watch.key is not None]
        given = dict(zip(map(id, following), keys, strict=True))
        return [
            (watch, (given[id(watch)],) if watch.key is not None else ()) for watch in self._watches
        ]
