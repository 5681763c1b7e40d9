"""The kept steps of a run: a slider over them, how each draws, and which is to be the file."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.training.runs.run_state import RunSnapshot
from webui.ui.markup import facts, message
from webui.ui.polling import Poll


def build(studio: Studio, poll: Poll, run: gr.Textbox, opened: gr.Textbox) -> None:
    """Build the scrubber inside the open Blocks.

    ``run`` holds the id of the run that is shown, ``opened`` that of the one the page has opened.
    """
    with gr.Column(visible=False, elem_id="train-scrubber") as whole:
        step = gr.Slider(
            0,
            1,
            0,
            step=1,
            label="Checkpoints",
            info="Every evaluation is kept; any of them can be the file.",
            buttons=[],
            elem_id="train-step",
        )
        said = gr.HTML(elem_id="train-step-facts", js_on_load=None)
        beside = _gallery("With the initializer, and with this checkpoint", 2, "train-beside")
        of = gr.Dropdown([], label="For the name", visible=False, elem_id="train-install-of")
        with gr.Row(elem_classes=["narrow"]):
            install = gr.Button("Use this checkpoint", size="sm", elem_id="train-install")
            look = gr.Button("Preview this checkpoint", size="sm", elem_id="train-look")
        answer = gr.HTML(elem_id="train-step-answer", js_on_load=None)
        row = _gallery("This checkpoint at several strengths", 4, "train-strength-row")
    runs = studio.training
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    # The timer must not set what people move, so it tells a hidden component that sets the slider.
    known = gr.JSON([], visible="hidden")
    held = gr.Textbox(visible="hidden")  # the run whose slider a person has set: it stays there
    poll.follow(
        opened,
        version=lambda run_id: _version(chosen(studio, run_id)),
        render=lambda run_id: {known: _version(chosen(studio, run_id))},
        outputs=[known],
    )
    known.change(
        lambda run_id, held, value: _show(chosen(studio, run_id), held, value),
        [opened, held, step],
        [whole, step, said, beside, install, row, of],
        **quiet,
    )

    shown = (said, beside, install)

    def scrub(run_id: str, value: float) -> dict[Any, Any]:
        view = runs.view(run_id) if run_id else None
        if view is None or not view.checkpoints:
            return {}
        told = dict(zip(shown, _at(view, nearest(view, value)), strict=True))
        return {**told, row: gr.update(visible=False), held: view.run_id}

    def install_step(run_id: str, value: float, name: str | None) -> dict[Any, Any]:
        at = nearest(runs.view(run_id), value)
        files = ", ".join(path.name for path in runs.install_step(run_id, at, name or ""))
        told = dict(zip(shown, _at(runs.view(run_id), at), strict=True))
        return {**told, answer: message(f"{files} holds step {at} now.", "good"), held: run_id}

    def draw(run_id: str, value: float) -> dict[Any, Any]:
        at = nearest(runs.view(run_id), value)
        runs.draw_previews(run_id, at)
        drawn = runs.draw_strengths(run_id, at)
        pictures = [(str(path), text) for text, path in drawn]
        told = dict(zip(shown, _at(runs.view(run_id), at), strict=True))
        return {**told, row: gr.update(value=pictures, visible=True), held: run_id}

    outputs = [*shown, row, held, answer]
    step.input(answered(scrub, answer), [run, step], outputs, trigger_mode="always_last", **quiet)
    install.click(answered(install_step, answer), [run, step, of], outputs, **quiet)
    look.click(answered(draw, answer), [run, step], outputs, api_visibility="private")


def chosen(studio: Studio, run_id: str) -> RunSnapshot | None:
    """Return the run that a page has opened, the current one if it has opened none."""
    if run_id:
        with contextlib.suppress(AppError):  # it may have been deleted meanwhile
            return studio.training.view(run_id)
    return studio.training.current()


def answered(act: Callable[..., Any], answer: gr.HTML) -> Callable[..., dict[Any, Any]]:
    """Return ``act`` with its AppErrors told at ``answer``, which is emptied when all went well.

    What ``act`` returns is None or the new values by component.
    """

    @functools.wraps(act)
    def handler(*values: Any) -> dict[Any, Any]:
        try:
            return {answer: "", **(act(*values) or {})}
        except AppError as error:
            return {answer: message(str(error), "bad")}

    return handler


def nearest(view: RunSnapshot, value: float) -> int:
    """Return the kept step that is nearest to a place on the slider."""
    return min(view.checkpoints, key=lambda step: abs(step - value))


def _gallery(label: str, columns: int, elem_id: str) -> gr.Gallery:
    return gr.Gallery(
        label=label,
        columns=columns,
        height="auto",
        elem_id=elem_id,
        buttons=["download", "fullscreen"],
        interactive=False,
        object_fit="contain",
        visible=False,
    )


def _version(view: RunSnapshot | None) -> list[Any]:
    if view is None:
        return []
    ended = view.state.ended
    files = [[each.name, each.step] for each in view.installed]
    return [view.run_id, len(view.checkpoints), len(view.previews), ended, files]


def _show(view: RunSnapshot | None, held: str, value: float) -> list[Any]:
    """Return the outputs for a run as it stands, at the step that has measured best so far.

    If ``held`` is the run's id, the slider stays at its ``value``.
    """
    if view is None or len(view.checkpoints) < 2:
        return [gr.update(visible=False), *[gr.skip()] * 6]
    steps = view.checkpoints
    best = view.best if view.best in steps else steps[-1]
    apart = math.gcd(*(step - steps[0] for step in steps)) or 1
    span: dict[str, Any] = {"minimum": steps[0], "maximum": steps[-1], "step": apart}
    if held == view.run_id:
        at = nearest(view, value)
        return [gr.update(visible=True), gr.update(**span), *_at(view, at), gr.skip(), gr.skip()]
    slider, names = gr.update(**span, value=best), view.record.names
    which = gr.update(choices=[("all of them", ""), *names], value="", visible=len(names) > 1)
    return [gr.update(visible=True), slider, *_at(view, best), gr.update(visible=False), which]


def _at(view: RunSnapshot, step: int) -> list[Any]:
    """Return what is known of a step, its previews beside those of the initializer, and the button
    that makes it the file, which says so if it is.

    A step without previews shows those that were drawn last before it.
    """
    gain = dict(view.gains).get(step)
    first = [(path, prompt) for at, prompt, path in view.previews if at == 0]
    files = [path.with_name(path.name.replace("000000", f"{step:06d}")) for path, _ in first]
    drawn: int | None = step
    if not all(path.is_file() for path in files):
        drawn = max((at for at, _, _ in view.previews if 0 < at <= step), default=None)
        files = [path for at, _, path in view.previews if at == drawn]
    pairs = [
        (str(path), text)
        for (before, prompt), after in zip(first, files, strict=False)
        for path, text in ((before, f"initializer: {prompt}"), (after, f"step {drawn}"))
    ]
    older = None if drawn in (None, step) else f"step {drawn}, the last that was drawn before"
    told = facts(
        [
            ("Step", f"{step} of {view.steps}"),
            ("Gain over the initializer", None if gain is None else f"{gain:.1%}"),
            ("File", _file(view, step)),
            ("Images", older),
        ]
    )
    used = view.installed_step == step
    button = gr.update(value="✓ In use" if used else "Use this checkpoint", interactive=not used)
    return [told, gr.update(value=pairs, visible=bool(pairs)), button]


def _file(view: RunSnapshot, step: int) -> str | None:
    """Say which step the embedding's file holds."""
    held = [
        f"{Path(each.path).name} holds {'this step' if each.step == step else f'step {each.step}'}"
        for each in view.installed
        if each.step is not None
    ]
    return " · ".join(held) or None
