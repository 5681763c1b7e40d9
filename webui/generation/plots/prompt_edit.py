"""Putting an embedding's call into prompts, and changing the weight of one that is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from webui.generation.request import GenerationRequest
from webui.prompting.names import EmbeddingCall, NameIndex, find_calls

MARKER = "{embedding}"
"""Stands in a prompt where an embedding is to be put."""
_WEIGHED_MARKER = re.compile(r"\(\s*\{embedding\}\s*(?::[^()]*)?\)|\{embedding\}")
_OPENED = re.compile(r"(?<!\\)\(\s*$")
_CLOSED = re.compile(r"\s*(?::\s*[+-]?[.\d]+\s*)?\)")


def call_of(name: str, explicit_only: bool) -> str:
    """Return what calls an embedding in a prompt, brackets in its name escaped."""
    return f"<{name}>" if explicit_only else re.sub(r"([()\[\]\\])", r"\\\1", name)


def calls_in(text: str, names: Mapping[str, bool]) -> list[EmbeddingCall]:
    """Return the calls of known embeddings in a prompt.

    ``names`` says of each whether it is only called explicitly.
    """
    calls = find_calls(text, NameIndex(names), lambda name: not names[name])
    return [call for call in calls if call.known]


def put_call(request: GenerationRequest, call: str) -> GenerationRequest:
    """Return the request with a call instead of each ``MARKER``, or else appended.

    An empty call takes the marker out, with the bracket and the comma that it leaves behind.
    """
    prompt, negative = request.prompt, request.negative_prompt
    if MARKER in prompt + negative:
        return replace(request, prompt=_put(prompt, call), negative_prompt=_put(negative, call))
    return replace(request, prompt=f"{prompt.rstrip(' ,')}, {call}") if call else request


def _put(text: str, call: str) -> str:
    if MARKER not in text:
        return text
    if call:
        return text.replace(MARKER, call)
    without = re.sub(r" {2,}", " ", _WEIGHED_MARKER.sub("", text))
    return re.sub(r"\s*,(?:\s*,)*", ",", without).strip(" ,")


def weigh_call(text: str, call: EmbeddingCall, weight: float) -> str:
    """Return a prompt in which one call has a weight; a weight that it had is replaced."""
    start, end = call.start, call.end
    written = text[start:end]
    if written.startswith("<"):
        folder = f"{call.folder}/" if call.folder else ""
        written = f"<embedding:{folder}{call.name}>"
    opened, closed = _OPENED.search(text, 0, start), _CLOSED.match(text, end)
    if opened and closed:
        start, end = opened.start(), closed.end()
    return f"{text[:start]}({written}:{weight:g}){text[end:]}"
