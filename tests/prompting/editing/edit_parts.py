"""A few names and all sorts of prompts to edit."""

from __future__ import annotations

from hypothesis import strategies as st

from webui.prompting.names import EmbeddingCall, NameIndex, find_calls

NAMES = ["foo", "v1", "bad", "bad-hands-5", "c++ (new)", "Marc_Allante", "two words", "日本", "a.b"]
EXPLICIT = ["painting", "cat"]
INDEX = NameIndex([*NAMES, *EXPLICIT])


def find(text: str) -> list[EmbeddingCall]:
    return find_calls(text, INDEX, lambda name: name not in EXPLICIT)


PIECES = st.sampled_from(
    [*"()[]<>,:|\\# \nab1é", "\u0301", ", ", "bad", "v1.5", "painting", "<painting>", "embedding:",
     "<embedding:", "embedding:foo", "two ", "words", "(foo:1.2)", ":0.5]", "AND", "BREAK", "🐸",
     "<lora:x:0.5>", "<lora:x", "日本", "c++ \\(new\\)", "\\(", "-", "_", ".", "/", " # c\n"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=20)
