"""From a prompt as written to what is laid out in chunks."""

from __future__ import annotations

import pytest

from tests.prompting.prompt_parts import Shelf
from webui.errors import AppError
from webui.prompting.chunks import Break, Insert, Words
from webui.prompting.lookup import Lookup
from webui.prompting.reader import MOST_CHUNKS, MOST_PARTS, Reader
from webui.prompting.source import PromptSettings
from webui.prompting.tokens import tokens_of


@pytest.fixture
def reader_with(shelf: Shelf, tokenizer):
    def make(settings: PromptSettings = PromptSettings()) -> Reader:  # noqa: B008
        lookup = Lookup(shelf, {"clip_l": 16}, "tiny", load=True)
        return Reader(tokens_of(tokenizer), lookup, settings)

    return make


def shown(reader: Reader, text: str) -> list:
    """The items of a text: words as text, embeddings as <name>, each with its weight."""
    found = []
    for item in reader.read(text).items:
        if isinstance(item, Words):
            found.append((" ".join(item.text.split()), round(item.weight, 3)))
        elif isinstance(item, Insert):
            found.append((f"<{item.name}>", round(item.weight, 3)))
        else:
            assert isinstance(item, Break)
            found.append("BREAK")
    return found


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a cat, easynegative", [("a cat,", 1), ("<easynegative>", 1)]),
        ("(easynegative:1.2)", [("<easynegative>", 1.2)]),
        ("((<easynegative>))", [("<easynegative>", 1.21)]),
        ("[embedding:easynegative]", [("<easynegative>", 0.909)]),
        ("(embedding:easynegative:1.3)", [("<easynegative>", 1.3)]),
        ("(<embedding:easynegative:1.5>:2)", [("<easynegative>", 3)]),
        ("(a bad-hands-5 b:1.2)", [("a", 1.2), ("<bad-hands-5>", 1.2), ("b", 1.2)]),
        ("bad BREAK v1", [("<bad>", 1), "BREAK", ("<v1>", 1)]),
        ("bad-hands and badly v10", [("bad-hands and badly v10", 1)]),
        ("a <nothere> b", [("a b", 1)]),
        ("(embedding:200)", [("", 1.1)]),
    ],
)
def test_embeddings_and_words_with_their_weights(text: str, items: list, reader_with):
    assert shown(reader_with(), text) == items


def test_with_emphasis_ignored_brackets_are_read_and_weights_dropped(reader_with):
    reader = reader_with(PromptSettings(emphasis="ignore"))
    assert shown(reader, "(a:2) <embedding:bad:3>") == [("a", 1), ("", 1), ("<bad>", 1)]


def test_with_emphasis_off_brackets_are_text_and_embeddings_are_called(reader_with):
    reader = reader_with(PromptSettings(emphasis="none"))
    assert shown(reader, "(a:2), (bad:3)") == [("(a:2), (", 1), ("<bad>", 1), (":3)", 1)]


def test_matching_anywhere_finds_names_inside_others_as_automatic1111_does(reader_with):
    reader = reader_with(PromptSettings(match_anywhere=True))
    assert shown(reader, "bad-hands, a bad-hands-5x") == [
        ("<bad>", 1), ("- hands , a", 1), ("<bad-hands-5>", 1), ("x", 1),
    ]  # fmt: skip
    assert shown(reader, "badly") == [("badly", 1)]
    assert shown(reader, "<v1>") == [("<v1>", 1)]


def test_the_embeddings_in_use_are_listed_once_each_in_order(reader_with):
    reader = reader_with()
    shown(reader, "v1, bad, v1 badly easynegative")
    assert list(reader.used) == ["v1", "bad", "easynegative"]


def test_a_prompt_is_taken_apart_into_parts_stages_and_loras(reader_with):
    script = reader_with().script("[a:b:0.5] <lora:ink:0.8> AND c :2", 10)
    assert [lora.name for lora in script.loras] == ["ink"]
    assert [part.weight for part in script.parts] == [1, 2]
    assert [stage.last_step for stage in script.parts[0].stages] == [5, 10]


def test_a_negative_prompt_composes_nothing_and_calls_no_loras(reader_with):
    reader = reader_with()
    script = reader.script("a AND b <lora:ink:1>", 10, negative=True)
    assert script.loras == ()
    assert [stage.text for stage in script.parts[0].stages] == ["a AND b "]
    assert "negative prompt" in reader.lookup.warnings[0]


def test_calls_inside_schedules_keep_their_colons_and_brackets(reader_with):
    script = reader_with().script("[embedding:bad:<embedding:v1:1.2>:0.5]", 10)
    assert [stage.text for stage in script.parts[0].stages] == [
        "embedding:bad",
        "<embedding:v1:1.2>",
    ]


def test_more_parts_or_chunks_than_can_be_drawn_are_refused(reader_with):
    reader = reader_with()
    with pytest.raises(AppError, match="AND"):
        reader.script(" AND ".join("a" * (MOST_PARTS + 1)), 10)
    with pytest.raises(AppError, match="Shorten"):
        reader.read("BREAK " * (MOST_CHUNKS + 1) + "a")


def test_late_schedules_switch_a_step_later_and_never_after_the_last_step(reader_with):
    def steps(text: str, late: bool) -> list[tuple[int, str]]:
        script = reader_with(PromptSettings(late_schedules=late)).script(text, 4)
        return [(stage.last_step, stage.text) for stage in script.parts[0].stages]

    assert steps("[a:b:2]", late=False) == [(2, "a"), (4, "b")]
    assert steps("[a:b:2]", late=True) == [(3, "a"), (4, "b")]
    assert steps("[a|b]", late=True) == [(2, "a"), (3, "b"), (4, "a")]
    assert steps("[a:b:3]", late=True) == [(4, "a")]
    assert steps("a", late=True) == [(4, "a")]
