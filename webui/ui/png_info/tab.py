"""The PNG Info tab: what a picture was made with, and whether all of that is here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from webui.errors import AppError
from webui.generation.metadata.infotext import read_infotext, read_settings
from webui.generation.metadata.png_info import MAX_TEXT, read_picture
from webui.generation.metadata.provenance import (
    Finding,
    check_embeddings,
    check_loras,
    check_model,
)
from webui.prompting.loras import list_loras
from webui.studio.studio import Studio
from webui.ui.markup import Verbatim, facts, message
from webui.ui.toasts import failure
from webui.ui.txt2img.apply_parameters import Target, apply_infotext

MOST_ROWS = 80
"""Settings that are shown; a picture of AUTOMATIC1111 with many extensions has about 40."""
STATES = {
    "present": "present",
    "renamed": "under another name",
    "different": "different",
    "missing": "missing",
    "unchecked": "cannot be compared",
}


def build(studio: Studio, target: Target, tabs: gr.Tabs) -> gr.Image:
    """Build the tab inside the open Blocks and return where images are put.

    ``target`` lies on one of ``tabs``.
    """
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            picture = gr.Image(
                label="Image (drop, paste or choose one)",
                type="filepath",
                sources=["upload", "clipboard"],
                height=340,
                buttons=[],
                elem_id="png-info-picture",
            )
            # Gradio would open the file itself first, and answer a broken one with no reason.
            component: Any = picture
            component.preprocess = lambda payload: payload.path if payload else None
            notes = gr.HTML(elem_id="png-info-notes", js_on_load=None)
            text = gr.Textbox(
                label="Parameters",
                placeholder="… or paste a parameters text here",
                lines=8,
                max_lines=16,
                buttons=["copy"],
                elem_id="png-info-text",
            )
        with gr.Column(scale=6, min_width=300):
            with gr.Row(elem_classes=["narrow"]):
                send = gr.Button(
                    "Send to txt2img",
                    variant="primary",
                    interactive=False,
                    elem_id="png-info-send",
                )
                load = gr.Button("Load its model", visible=False, elem_id="png-info-load")
            found = gr.HTML(elem_id="png-info-found", js_on_load=None)
            table = gr.HTML(elem_id="png-info-table", js_on_load=None)
    quiet: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    picture.change(_read, picture, [text, notes], **quiet)
    text.change(lambda given: _show(studio, given), text, [found, table, send, load], **quiet)
    load.click(
        lambda given: _load(studio, given),
        text,
        None,
        show_progress="hidden",
        api_visibility="private",
    )
    send.click(
        lambda given: apply_infotext(studio, target, given) | {tabs: gr.Tabs(selected="txt2img")},
        text,
        [*target.outputs(), tabs],
        **quiet,
    )
    return picture


def _read(path: str | None) -> list[Any]:
    """Return the text inside a picture and where it was; a picture taken away changes nothing."""
    if path is None:
        return [gr.skip(), ""]
    try:
        inside = read_picture(Path(path))
    except AppError as error:
        return ["", message(str(error), "bad")]
    if inside is None:
        return [
            "",
            message(
                "There are no parameters inside this image. Web sites and chat programs often "
                "take them out, and so does copying the image in place of its file.",
                "warn",
            ),
        ]
    return [inside.text, message(f"Found in the image: {inside.source}.")]


def _show(studio: Studio, text: str) -> list[Any]:
    """Return what is shown of a parameters text."""
    if len(text) > MAX_TEXT:
        sentence = f"The text is longer than the {MAX_TEXT:,} characters that are read."
        return [
            message(sentence, "bad"),
            "",
            gr.update(interactive=False),
            gr.update(visible=False),
        ]
    request, pairs = read_infotext(text)
    embeddings = check_embeddings(request, pairs, studio.library.snapshot().cards)
    model = _model(studio, pairs)
    loras = list_loras(studio.settings.models_dir / "lora")
    refused = read_settings(pairs).refused
    rows = [("Prompt", request.prompt), ("Negative prompt", request.negative_prompt)]
    rows += [(Verbatim(key), value) for key, value in list(pairs.items())[:MOST_ROWS]]
    here = model.here if model else ""
    loadable = here not in ("", studio.models.state.name)
    return [
        _findings("Model", [model] if model else [])
        + _findings("Embeddings", (_with_reason(studio, finding) for finding in embeddings))
        + _findings("LoRAs", check_loras(request, pairs, loras))
        + "".join(message(sentence, "warn") for sentence in refused),
        facts((key, Verbatim(value)) for key, value in rows),
        gr.update(interactive=bool(text.strip())),
        gr.update(visible=loadable, value=f"Load {here}" if loadable else ""),
    ]


def _model(studio: Studio, pairs: dict[str, str]) -> Finding | None:
    return check_model(pairs, studio.models.hashes(), studio.models.state.name)


def _load(studio: Studio, text: str) -> None:
    """Load the model that a parameters text names."""
    model = _model(studio, read_infotext(text[:MAX_TEXT])[1])
    try:
        if model is not None and model.here:
            studio.models.switch(model.here)
    except AppError as error:
        raise failure(error) from error


def _with_reason(studio: Studio, finding: Finding) -> Finding:
    """Return a finding that also says why the embedding does not act with the model in use."""
    card = studio.library.card(finding.here) if finding.here else None
    reason = studio.why_unusable(card) if card else None
    return replace(finding, sentence=f"{finding.sentence} {reason}") if reason else finding


def _findings(title: str, findings: Iterable[Finding]) -> str:
    """Return a list of what is here and what is not; every text in it is escaped."""
    lines = "".join(
        f'<li class="finding finding-{finding.state}"><strong>{escape(finding.name)}</strong> '
        f'<span class="finding-state">{STATES[finding.state]}</span> '
        f"<span>{escape(finding.sentence)}</span></li>"
        for finding in findings
    )
    if not lines:
        return ""
    return f'<h3 class="findings-title">{title}</h3><ul class="findings">{lines}</ul>'
