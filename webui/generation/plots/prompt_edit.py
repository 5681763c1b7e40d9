"""Where a plot puts the call of an embedding into the prompts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from webui.generation.request import GenerationRequest
from webui.prompting.editing.spans import read_written
from webui.prompting.names import EmbeddingCall, NameIndex, find_calls

MARKER = "{embedding}"
"""Stands in a prompt where an embedding is to be put."""
_WEIGHED_MARKER = re.compile(r"\(\s*\{embedding\}\s*(?::[^()]*)?\)|\{embedding\}")


def calls_in(text: str, names: Mapping[str, bool]) -> list[EmbeddingCall]:
    """Return the calls of known embeddings in a prompt.

    ``names`` says of each whether it is only called explicitly.
    """
    index = NameIndex(names)
    read = read_written(text, lambda bare: find_calls(bare, index, lambda name: not names[name]))
    return [call for call in read.calls if call.known]


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
