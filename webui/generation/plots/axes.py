"""The kinds of axes of an X/Y/Z plot: how their values are read and what each changes."""

from __future__ import annotations

import itertools
import math
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from webui.errors import AppError
from webui.generation.plots.axis_values import (
    read_list,
    read_numbers,
    read_whole_numbers,
    write_list,
)
from webui.generation.plots.plan import MAX_CELLS, Cell, PlotContext, TrainedRun
from webui.generation.plots.prompt_edit import MARKER, calls_in, put_call
from webui.generation.request import (
    FIELDS,
    MAX_PROMPT,
    MAX_SEED,
    PROMPTS,
    GenerationRequest,
    RequestField,
)
from webui.generation.sampling.samplers import SAMPLERS, split_sampler
from webui.models.catalog import SINGLE_FILES
from webui.prompting.editing.calls import call_text
from webui.prompting.editing.weights import set_weight

NOTHING, NONE = "Nothing", "none"


@dataclass(frozen=True)
class Axis:
    """A kind of axis."""

    name: str
    """As AUTOMATIC1111 calls it, where it has it."""
    hint: str
    """What its values look like, for people."""
    read: Callable[[str, GenerationRequest, PlotContext], Sequence[Any]]
    """Returns the values in a text; raises AppError."""
    apply: Callable[[Cell, Any, PlotContext], Cell]
    label: Callable[[Any], str]
    """Returns what a value is called in the grid."""
    order: int = 0
    """Axes of a lower one are applied first."""
    choices: Callable[[PlotContext], Collection[str]] | None = None
    """Returns all there is to choose from, where that can be counted."""
    field: RequestField | None = None
    """The field of the request that it sets, where it is only one."""


def _axis_of(field: RequestField) -> Axis:
    """Return the axis of a field of the request."""
    name = field.axis_name or field.infotext

    def names(context: PlotContext) -> list[str]:
        more = context.upscalers if field.name == "hires_upscaler" else ()
        return ["True", "False"] if field.type is bool else [*field.choices, *more]

    named = field.type is bool or bool(field.choices)

    def read_values(text: str, base: GenerationRequest, context: PlotContext) -> Sequence[Any]:
        if named:
            found = _listed(field.label.lower(), names(context), text)
            return [field.check(value) for value in found]
        values = read_whole_numbers(text) if field.type is int else read_numbers(text)
        drawn = [secrets.randbelow(MAX_SEED + 1) if field.random and v == -1 else v for v in values]
        return [field.check(value) for value in drawn]

    def apply(cell: Cell, value: Any, context: PlotContext) -> Cell:
        return replace(cell, request=replace(cell.request, **{field.name: value}))

    def label(value: Any) -> str:
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        return shown if field.choices else f"{name}: {shown}"

    if named:
        hint = f"names: {', '.join((list(field.choices) or ['', 'True', 'False'])[1:3])}"
    else:
        hint = f"{'whole ' if field.type is int else ''}numbers {field.limits}"
    return Axis(
        name, hint, read_values, apply, label, field=field,
        choices=names if named else None,
    )  # fmt: skip


def _read_replacements(
    text: str, base: GenerationRequest, context: PlotContext
) -> list[tuple[str, str]]:
    """Return the words to look for with each of the words to put in their place."""
    words = read_list(text, keep_empty=True)
    if words and not words[0]:
        raise AppError("The first value is what to look for in the prompts; it is empty.")
    if words and not any(words[0] in getattr(base, prompt) for prompt in PROMPTS[:2]):
        raise AppError(f"“{words[0]}”, the first value, is in neither prompt, so nothing changes.")
    return [(words[0], word) for word in words]


def _replace_words(cell: Cell, value: tuple[str, str], context: PlotContext) -> Cell:
    old, new = value
    changed: dict[str, Any] = {}
    for prompt in PROMPTS:
        text = getattr(cell.request, prompt)
        if len(text) + text.count(old) * (len(new) - len(old)) > MAX_PROMPT:
            raise AppError(f"With “{new[:40]}” a prompt has more than {MAX_PROMPT:,} characters.")
        changed[prompt] = text.replace(old, new)
    return replace(cell, request=replace(cell.request, **changed))


def _read_orders(text: str, base: GenerationRequest, context: PlotContext) -> list[tuple[str, ...]]:
    """Return every order of some words of the prompt."""
    words = read_list(text)
    if math.factorial(min(len(words), 20)) > MAX_CELLS:
        raise AppError(
            f"{len(words)} words have more orders than the {MAX_CELLS} cells of a plot; take four."
        )
    for word in words:
        if word not in base.prompt:
            raise AppError(f"“{word}” is not in the prompt, so it cannot change its place.")
    return list(itertools.permutations(words)) if words else []


def _set_order(cell: Cell, words: tuple[str, ...], context: PlotContext) -> Cell:
    """Put words of the prompt into the places of one another."""
    rest, pieces = cell.request.prompt, []
    for new, old in zip(words, sorted(words, key=rest.find), strict=True):
        before, found, after = rest.partition(old)
        pieces += [before, new if found else ""]
        rest = after if found else ""
    return replace(cell, request=replace(cell.request, prompt="".join([*pieces, rest])))


def _set_styles(cell: Cell, names: str, context: PlotContext) -> Cell:
    chosen = () if names == NONE else tuple(name.strip() for name in names.split(","))
    request = context.with_styles(replace(cell.request, styles=chosen))
    return replace(cell, request=request)


def _read_samplers(
    text: str, base: GenerationRequest, context: PlotContext
) -> list[tuple[str, str]]:
    """Return samplers, each with the schedule type that its name ends with."""
    found = []
    for name in read_list(text):
        sampler, schedule = split_sampler(name)
        if sampler not in SAMPLERS:
            raise AppError(f"There is no sampler “{name}”. There are: {', '.join(SAMPLERS)}.")
        found.append((sampler, schedule))
    return found


def _sampler_axis(name: str, sampler_field: str, schedule_field: str) -> Axis:
    """Return the axis of one pass's sampler, whose names may end with a schedule type."""

    def apply(cell: Cell, value: tuple[str, str], context: PlotContext) -> Cell:
        changed: dict[str, Any] = {sampler_field: value[0]}
        if value[1] != "Automatic":
            changed[schedule_field] = value[1]
        return replace(cell, request=replace(cell.request, **changed))

    return Axis(
        name, "names: Euler a, DPM++ 2M Karras", _read_samplers, apply,
        lambda value: " ".join(part for part in value if part != "Automatic"),
        choices=lambda context: list(SAMPLERS),
        field=FIELDS["hires_sampler"] if sampler_field == "hires_sampler" else None,
    )  # fmt: skip


def _named(
    what: str, names: Callable[[PlotContext], Collection[str]]
) -> Callable[[str, GenerationRequest, PlotContext], list[str]]:
    """Return what reads a list of names that must be among some."""
    return lambda text, base, context: _listed(what, names(context), text)


def _listed(what: str, names: Collection[str], text: str) -> list[str]:
    """Return the names in a list, in whatever case; raises AppError for those that are unknown."""
    known = {name.casefold(): name for name in names}
    for name in read_list(text):
        if name.casefold() not in known:
            listed = ", ".join(list(known.values())[:20])
            raise AppError(f"There is no {what} “{name}” here. There are: {listed or 'none'}.")
    return [known[name.casefold()] for name in read_list(text)]


def _read_checkpoints(text: str, base: GenerationRequest, context: PlotContext) -> list[str]:
    """Return checkpoints, which may be written with their endings and hashes."""
    written = []
    for name in read_list(text):
        name = re.sub(r"\s*\[[0-9a-f]+\]$", "", name)
        ending = next((end for end in SINGLE_FILES if name.lower().endswith(end)), "")
        known = name in context.checkpoints
        written.append(name if known else name.removesuffix(ending))
    return _listed("model", context.checkpoints, write_list(written))


def _read_vaes(text: str, base: GenerationRequest, context: PlotContext) -> list[str]:
    """Return VAEs, which may be written without their endings."""
    stems = {vae.rpartition(".")[0].casefold(): vae for vae in context.vaes if "." in vae}
    written = [stems.get(name.casefold(), name) for name in read_list(text)]
    return _listed("VAE", context.vaes, write_list(written))


def _read_styles(text: str, base: GenerationRequest, context: PlotContext) -> list[str]:
    """Return styles; several in quotation marks are used together."""
    values = []
    for entry in read_list(text):
        whole = {NONE: NONE} | {name.casefold(): name for name in context.styles}
        if entry.casefold() in whole:
            values.append(whole[entry.casefold()])
        else:
            parts = [part for part in entry.split(",") if part.strip()]
            values.append(", ".join(_listed("style", context.styles, write_list(parts))))
    return values


def _read_sizes(text: str, base: GenerationRequest, context: PlotContext) -> list[tuple[int, int]]:
    sizes = []
    for entry in read_list(text):
        match = re.fullmatch(r"(\d{1,5})\s*[x×]\s*(\d{1,5})", entry)
        if match is None:
            raise AppError(f"“{entry}” is no size such as 512x768.")
        sizes.append((int(match[1]), int(match[2])))
    return sizes


def _set_size(cell: Cell, value: tuple[int, int], context: PlotContext) -> Cell:
    return replace(cell, request=replace(cell.request, width=value[0], height=value[1]))


def _embeddings(context: PlotContext) -> list[str]:
    return [NONE, *sorted(context.embeddings, key=str.casefold)]


def _put_embedding(cell: Cell, name: str, context: PlotContext) -> Cell:
    if name == NONE and NONE not in context.embeddings:
        return replace(cell, request=put_call(cell.request, ""), placed=None)
    call = call_text(name, context.embeddings[name])
    return replace(cell, request=put_call(cell.request, call), placed=name)


def _read_steps(text: str, base: GenerationRequest, context: PlotContext) -> list[int]:
    run = chosen_run(context)
    if text.strip().casefold() in ("", "all"):
        return list(run.steps)
    steps = read_whole_numbers(text)
    for step in steps:
        if step not in run.steps:
            kept = ", ".join(map(str, run.steps))
            raise AppError(f"Step {step} was not kept. The run has kept: {kept}.")
    return steps


def chosen_run(context: PlotContext) -> TrainedRun:
    """Return the training run whose steps are values; raises AppError if there is none."""
    if context.run is None or not context.run.steps:
        raise AppError("Choose a training run that has kept some of its steps.")
    return context.run


def calls_embedding(name: str, request: GenerationRequest) -> bool:
    """Return whether one of the prompts calls an embedding."""
    return any(calls_in(text, {name: False}) for text in (request.prompt, request.negative_prompt))


def _put_step(cell: Cell, step: int, context: PlotContext) -> Cell:
    request, name = cell.request, chosen_run(context).name
    if MARKER in request.prompt + request.negative_prompt or not calls_embedding(name, request):
        request = put_call(request, call_text(name))
    return replace(cell, request=request, training_step=step, placed=name)


def _set_strength(cell: Cell, weight: float, context: PlotContext) -> Cell:
    """Weigh the embedding that another axis put into the prompts, or the first in them."""
    names = dict(context.embeddings) | ({context.run.name: False} if context.run else {})
    for field_name in ("prompt", "negative_prompt"):
        text = getattr(cell.request, field_name)
        calls = [call for call in calls_in(text, names) if cell.placed in (None, call.name)]
        if calls:
            changed: dict[str, Any] = {field_name: set_weight(text, calls[0], weight)}
            return replace(cell, request=replace(cell.request, **changed), placed=calls[0].name)
    return cell


PLACING = ("Embedding", "Training step")
_LAST = 2
_AXES = (
    Axis(
        NOTHING, "", lambda text, base, context: [None], lambda cell, value, context: cell,
        lambda value: "",
    ),
    Axis(
        "Embedding", f"names, and {NONE} to compare: {NONE}, marc_allante, my_mug",
        _named("embedding that this model can use", _embeddings), _put_embedding,
        lambda name: "no embedding" if name == NONE else name, order=1, choices=_embeddings,
    ),
    Axis(
        "Embedding strength", "weights: 0.6, 0.8, 1, 1.2 or 0-1.5 (+0.25)",
        lambda text, base, context: read_numbers(text), _set_strength,
        lambda weight: f"strength {weight:g}", order=_LAST,
    ),
    Axis(
        "Training step", "steps that the run has kept: 100, 300; nothing for all of them",
        _read_steps, _put_step, lambda step: f"step {step}", order=1,
        choices=lambda context: [str(step) for step in context.run.steps] if context.run else [],
    ),
    Axis(
        "Prompt S/R", "words to look for, then what replaces them: red, green, blue",
        _read_replacements, _replace_words, lambda value: value[1],
    ),
    Axis(
        "Prompt order", "words of the prompt, drawn in every order: red, green, blue",
        _read_orders, _set_order, lambda words: ", ".join(words),
    ),
    _sampler_axis("Sampler", "sampler", "schedule_type"),
    Axis(
        "Checkpoint name", "names of models", _read_checkpoints,
        lambda cell, name, context: replace(cell, checkpoint=name), str,
        choices=lambda context: context.checkpoints,
    ),
    Axis(
        "VAE", "Automatic, None or files of models/vae/", _read_vaes,
        lambda cell, name, context: replace(cell, vae=name), lambda name: f"VAE: {name}",
        choices=lambda context: context.vaes,
    ),
    Axis(
        "Styles", f'names, {NONE} to compare, "several, together"', _read_styles, _set_styles,
        lambda names: "no style" if names == NONE else names, order=_LAST,
        choices=lambda context: context.styles,
    ),
    Axis(
        "Size", "width and height: 512x512, 512x768", _read_sizes, _set_size,
        lambda size: f"{size[0]}×{size[1]}",
    ),
    _sampler_axis("Hires sampler", "hires_sampler", "hires_schedule_type"),
    *(_axis_of(field) for field in FIELDS.values() if field.axis),
)  # fmt: skip
AXES: Mapping[str, Axis] = {axis.name: axis for axis in _AXES}
"""The kinds of axes in the order in which they are offered."""
_NAMES = {axis.field.infotext.casefold(): axis for axis in _AXES if axis.field}
_NAMES |= {axis.name.casefold(): axis for axis in _AXES}


def find_axis(name: str) -> Axis | None:
    """Return the axis of a name: its own, or that of its field in the parameters, in any case."""
    return _NAMES.get(name.casefold())
