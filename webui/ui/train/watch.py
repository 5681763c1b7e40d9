"""The side of the Train tab that shows a run, the same in every tab and after a reload."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas

from webui.job_state import JobState
from webui.studio.studio import Studio
from webui.training.captions import previews_of
from webui.training.recipe import Recipe
from webui.training.runs.report import Report
from webui.training.runs.run_state import RunSnapshot
from webui.training.stages import NAME
from webui.ui.markup import Verbatim, duration, facts, message, progress
from webui.ui.polling import Poll
from webui.ui.train import checkpoints as train_steps
from webui.ui.train import runs_list
from webui.ui.train.checkpoints import answered, chosen
from webui.ui.txt2img.apply_parameters import Target

IDLE = """
<div class="run-empty">
  <h2>Your run appears here</h2>
  <p>Nothing is trained yet. After Train you see, from top to bottom:</p>
  <ol>
    <li><strong>How far it is</strong>, and what the model draws for the initializer before it
      learns anything.</li>
    <li><strong>The gain</strong>: how much better your images are foretold with the new word than
      with the initializer, measured again and again.</li>
    <li><strong>Checkpoints</strong>: a slider over all that was kept, each beside the
      initializer.</li>
    <li><strong>The verdict</strong>, and a button to try the word in txt2img.</li>
  </ol>
</div>
"""
GAIN = (
    "Gain is how much smaller the error on fixed test noise is than with the initializer’s words, "
    "which are 0 %. The step that is kept at the end is measured once more on twice as many "
    "inputs, and has that figure here, in the report and at the slider. The faint line is the "
    "error of the training batches, which goes up and down by chance."
)

PAUSABLE = (JobState.QUEUED, JobState.PREPARING, JobState.TRAINING)
FIXED, DRAWN = "fixed test noise", "training batches"
COLOURS = {FIXED: "#7c3aed", DRAWN: "rgba(128, 128, 128, 0.35)"}
"""The curve that tells of progress, and the faint one of the steps' own errors, which does not."""


def build(studio: Studio, poll: Poll, target: Target, tabs: gr.Tabs) -> gr.Textbox:
    """Build the outputs and the buttons that steer the run inside the open Blocks.

    Returns what holds the id of the run that this page has opened; "" shows the current one.
    """
    opened = gr.Textbox(visible="hidden")
    bar = gr.HTML(IDLE, elem_id="train-progress", js_on_load=None)
    with gr.Row(elem_classes=["narrow", "only-possible"]):
        pause = gr.Button("Pause", size="sm", interactive=False, elem_id="train-pause")
        resume = gr.Button("Resume", size="sm", interactive=False, elem_id="train-resume")
        keep = gr.Button("Stop and keep", size="sm", interactive=False, elem_id="train-keep")
        cancel = gr.Button(
            "Cancel", size="sm", variant="stop", interactive=False, elem_id="train-cancel"
        )
        attempt = gr.Button(
            "Try in txt2img", variant="primary", size="sm", interactive=False, elem_id="train-try"
        )
    answer = gr.HTML(elem_id="train-run-answer", js_on_load=None)
    plot = gr.LinePlot(
        x="step",
        y="gain",
        color="measured_on",
        color_map=COLOURS,
        color_title="measured on",
        height=270,
        elem_id="train-plot",
        visible=False,
        title="Gain over the initializer (%)",
    )
    gain = gr.HTML(elem_id="train-gain", js_on_load=None)
    report = gr.HTML(elem_id="train-report", js_on_load=None)
    with gr.Accordion("Details of this run", open=False, elem_id="train-details"):
        details = gr.HTML(elem_id="train-details-text", js_on_load=None)
    run = gr.Textbox(visible="hidden")
    train_steps.build(studio, poll, run, opened)
    previews = gr.Gallery(
        label="Previews, newest first",
        columns=4,
        height="auto",
        elem_id="train-previews",
        buttons=["download", "fullscreen"],
        interactive=False,
        object_fit="contain",
        visible=False,
    )
    outputs = [
        run, bar, pause, resume, keep, cancel, attempt, plot, gain, previews, report, details,
    ]  # fmt: skip
    poll.follow(
        opened,
        version=lambda run_id: _version(chosen(studio, run_id)),
        render=lambda run_id: dict(zip(outputs, _show(chosen(studio, run_id)), strict=True)),
        outputs=outputs,
    )
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    runs = studio.training
    for button, act in (
        (pause, runs.pause),
        (resume, runs.resume),
        (keep, lambda run_id: runs.stop(run_id, keep=True)),
        (cancel, lambda run_id: runs.stop(run_id, keep=False)),
    ):
        button.click(answered(act, answer), run, answer, **quiet)
    prompts = [target.controls[field] for field in ("prompt", "negative_prompt")]

    def write_prompts(run_id: str) -> dict[Any, Any]:
        record = runs.view(run_id).record
        prompts_of = replace(
            record.recipe, preview_prompts=record.recipe.preview_prompts or (NAME,)
        )
        prompt, negative, _ = previews_of(prompts_of, record.names)[0]
        lora = runs.view(run_id).lora
        written = (f"{prompt} <lora:{lora.name}:1>" if lora else prompt, negative)
        return {**dict(zip(prompts, written, strict=True)), tabs: gr.Tabs(selected="txt2img")}

    attempt.click(answered(write_prompts, answer), run, [*prompts, tabs, answer], **quiet)
    runs_list.build(studio, poll, opened)
    return opened


def _version(view: RunSnapshot | None) -> list[Any]:
    return [view.run_id, view.version] if view else []


def _show(view: RunSnapshot | None) -> list[Any]:
    """Return the outputs for a run as it stands."""
    if view is None:
        hidden = gr.update(visible=False)
        return ["", IDLE, *[gr.update(interactive=False)] * 5, hidden, "", hidden, "", ""]
    state, paused = view.state, view.state is JobState.PAUSED
    curve = _curve(view)
    pictures = [
        (str(path), f"step {step}: {prompt}") for step, prompt, path in reversed(view.previews)
    ]
    return [
        view.run_id,
        _progress(view),
        gr.update(interactive=state in PAUSABLE),
        gr.update(interactive=state.resumable),
        gr.update(interactive=(not state.ended and view.step > 0) or paused),
        gr.update(interactive=not state.ended or paused),
        gr.update(interactive=bool(view.installed) and state.ended),
        gr.update(value=curve, visible=len(view.gains) > 1),
        f'<p class="hint">{GAIN}</p>' if len(view.gains) > 1 else "",
        gr.update(value=pictures, visible=bool(pictures)),
        _reports(view),
        _details(view),
    ]


def _progress(view: RunSnapshot) -> str:
    speed = f" · {view.steps_per_s:.1f} steps/s" if view.steps_per_s else ""
    left = f" · {duration(view.eta_s)} left" if view.eta_s is not None else ""
    state = view.state.capitalize()
    text = f"{view.name}: {state}, step {view.step} of {view.steps}"
    if view.state is JobState.TRAINING:
        text += f"{speed}{left}"
    said = message(view.message) if view.message else ""
    if view.problem:
        said += message(view.problem, "bad")
    for each in view.installed:
        path = Path(each.path)
        said += message(
            f"{path.name} is in {path.parent.name}/. Write {each.name} in a prompt, or click its "
            "card.",
            "good",
        )
    if view.lora:
        file = Path(view.lora.path).name
        said += message(
            f"{file} is in models/lora/. Write <lora:{view.lora.name}:1> {view.name} in a prompt: "
            "it brings the embedding along.",
            "good",
        )
    return progress(view.step, view.steps, text) + _phases(view) + said


def _phases(view: RunSnapshot) -> str:
    """Return a bar for each phase of a run until its steps begin, then for one that goes on."""
    if not view.state.running:
        return ""
    before = view.steps_per_s is None
    going = [phase for phase in view.phases if before or phase.done < phase.total]
    bars = (
        progress(phase.done, phase.total, f"{phase.name}: {phase.done} of {phase.total}")
        for phase in going
    )
    return f'<div class="phases">{"".join(bars)}</div>' if going else ""


def _details(view: RunSnapshot) -> str:
    """Return the numbers of the run as it goes, what it was asked for, and its log."""
    record, usual = view.record, Recipe().to_dict()
    changed = {k: v for k, v in record.recipe.to_dict().items() if v != usual[k]}
    table = facts(
        [
            ("Learning rate", None if view.rate is None else f"{view.rate:.3g}"),
            ("Vector length vs. ordinary words", view.norm_ratio and f"{view.norm_ratio:.2f}"),
            ("Images", Verbatim(", ".join(name for name, _ in record.data))),
            ("Initializer", Verbatim(record.initializer)),
            ("Model", Verbatim(record.model_name)),
            ("Settings", Verbatim(", ".join(f"{key} = {value}" for key, value in changed.items()))),
        ]
    )
    log = escape("\n".join(reversed(view.log)))
    return f'{table}<pre class="log">{log}</pre>'


def _curve(view: RunSnapshot) -> pandas.DataFrame:
    points = [(step, 100 * gain, FIXED) for step, gain in view.gains]
    points += [(step, 100 * gain, DRAWN) for step, gain in _drawn(view)]
    return pandas.DataFrame(points, columns=["step", "gain", "measured_on"])


def _drawn(view: RunSnapshot) -> list[tuple[int, float]]:
    """Return the mean error of the steps up to each evaluation, as a gain over the first one."""
    points, before = [], 0
    for step, _ in view.losses[1:]:
        own = [loss for at, loss in view.raw_losses if before < at <= step]
        if own:
            points.append((step, 1 - sum(own) / len(own) / view.losses[0][1]))
        before = step
    return points


def _in_use(view: RunSnapshot, name: str, kept: int) -> str | None:
    """Say which step a name's file holds where it is another than the one that was kept."""
    step = next((each.step for each in view.installed if each.name == name), None)
    return None if step in (None, kept) else f"step {step}, which was chosen afterwards"


def _reports(view: RunSnapshot) -> str:
    """Return the verdict on each name of a run that has ended, with the numbers behind it."""
    if view.report is None:
        return ""
    named = zip(view.record.names, view.report.each, strict=True)
    return "".join(_report(view, name, report) for name, report in named)


def _report(view: RunSnapshot, name: str, report: Report) -> str:
    score = report.score
    held_out = None if score.held_out is None else f"{score.held_out:.1%}"
    words = " · ".join(", ".join(row[:3]) for row in report.nearest)
    return facts(
        [
            ("Name", Verbatim(name) if len(view.record.names) > 1 else None),
            ("Verdict", report.verdict),
            ("What to do", report.advice),
            ("Kept", f"step {report.step}: {report.reason}"),
            ("In use", _in_use(view, name, report.step)),
            ("Gain over the initializer", f"{score.gain:.1%} ± {score.error:.1%}"),
            ("Held-out gain", held_out),
            ("Editability", f"{report.editability:.2f} of 1"),
            ("Vector length vs. ordinary words", f"{report.norm_ratio:.2f}"),
            ("Nearest words", Verbatim(words)),
            ("Time", duration(report.seconds)),
        ]
    )
