"""What a person is shown of a prompt while typing it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from tests.prompting.prompt_parts import Shelf
from tests.prompting.test_loras import write_lora
from webui.embeddings.embedding import OUTPUT
from webui.prompting import xray
from webui.prompting.source import PromptSettings
from webui.settings import ROOT

TOKENIZER = CLIPTokenizer.from_pretrained(ROOT / "models" / "starter" / "tokenizer")
WIDTHS = {"clip_l": 16}
SHELF = Shelf()
for _name, _count in (("bad", 1), ("bad-hands-5", 2), ("easynegative", 4), ("full", 75)):
    SHELF.put(_name, {"clip_l": torch.ones(_count, 16)})


def read(text: str, shelf: Shelf, **options) -> xray.XRay:
    return xray.read(text, TOKENIZER, shelf, WIDTHS, "tiny", **options)


def shown(found: xray.XRay) -> list[str]:
    """The pieces as one would draw them: ‹embedding 4 ×1.2›, — for a break."""
    drawn = []
    for piece in found.pieces:
        weight = "" if piece.weight == 1 else f" ×{piece.weight:.3g}"
        if piece.kind == "text":
            drawn.append(" ".join(piece.text.split()) + weight)
        elif piece.kind == "break":
            drawn.append(f"—{piece.text}")
        elif piece.kind == "embedding":
            drawn.append(f"‹{piece.name} {piece.vectors}{weight}›")
        else:
            drawn.append(f"{piece.kind}: {piece.text}{weight}")
    return drawn


def test_an_empty_prompt_uses_none_of_75(shelf: Shelf):
    found = read("", shelf)
    assert (found.used, found.limit, found.pieces, found.warnings) == (0, 75, (), ())


def test_words_and_embeddings_with_their_weights_and_lengths(shelf: Shelf):
    found = read("a cat, (easynegative:1.2) [dog]", shelf)
    assert shown(found) == ["a cat,", "‹easynegative 4 ×1.2›", "dog ×0.909"]
    assert (found.used, found.limit) == (8, 75)
    assert [piece.vectors for piece in found.pieces if piece.kind != "text"] == [4]


def test_a_text_encoders_output_fills_the_negative_prompt(shelf: Shelf):
    shelf.put("reneg", {"clip_l": torch.ones(77, 16)}, OUTPUT)
    found = read("reneg", shelf, negative=True)
    assert (found.used, found.limit, shown(found)) == (75, 75, ["‹reneg 75›"])
    assert "a whole negative prompt" in read("reneg", shelf).warnings[0]


def test_break_and_full_chunks_show_where_chunks_begin(shelf: Shelf):
    found = read("a BREAK b " + "word " * 80, shelf)
    assert [piece.text for piece in found.pieces if piece.kind == "break"] == ["BREAK", ""]
    assert [piece.vectors for piece in found.pieces if piece.kind == "text"] == [1, 75, 6]
    assert (found.used, found.limit) == (156, 225)


def test_words_that_move_behind_a_comma_are_shown_in_the_chunk_they_move_to(shelf: Shelf):
    found = read("word " * 70 + ", a tall red house by the sea", shelf)
    assert shown(found)[1:] == ["—", "a tall red house by the sea"]


def test_an_embedding_that_no_longer_fits_begins_a_chunk(shelf: Shelf):
    assert shown(read("word " * 73 + "easynegative", shelf))[1:] == ["—", "‹easynegative 4›"]


def test_loras_are_shown_with_their_strength(shelf: Shelf):
    assert shown(read("a <lora:ink:0.8>", shelf)) == ["a", "lora: ink ×0.8"]


def test_a_lora_that_is_not_there_does_not_look_like_one_that_is(shelf: Shelf, tmp_path: Path):
    write_lora(tmp_path / "ink.safetensors")
    found = read("a <lora:Ink:0.8> <lora:inc:1>", shelf, loras=tmp_path)
    assert [(piece.name, piece.missing) for piece in found.pieces[1:]] == [
        ("Ink", False), ("inc", True),
    ]  # fmt: skip
    assert found.warnings == ("There is no LoRA “inc”; did you mean “ink”?",)
    assert read("a <lora:inc:1>", shelf).warnings == (), "not looked for"


def test_embeddings_that_a_lora_brings_are_shown_in_both_prompts(shelf: Shelf, tmp_path: Path):
    write_lora(tmp_path / "ink.safetensors", **{"inky.clip_l": torch.randn(3, 16)})
    prompt = "inky <lora:ink:1>"
    assert shown(read(prompt, shelf, loras=tmp_path))[0] == "‹inky 3›"
    assert shown(read("inky", shelf, loras=tmp_path)) == ["inky"]
    assert shown(read("inky", shelf, loras=tmp_path, negative=True, beside=prompt)) == ["‹inky 3›"]


def test_emphasis_is_shown_as_the_settings_have_it(shelf: Shelf):
    def seen(emphasis: str) -> list[str]:
        return shown(read("a (bad:1.2)", shelf, settings=PromptSettings(emphasis)))

    assert seen("original") == seen("no_norm") == seen("comfy") == ["a", "‹bad 1 ×1.2›"]
    assert seen("ignore") == ["a", "‹bad 1›"]
    assert seen("none") == ["a (", "‹bad 1›", ":1.2)"]


def test_late_schedules_are_shown_at_the_steps_at_which_they_act(shelf: Shelf):
    late = PromptSettings(late_schedules=True)
    assert shown(read("[cat:dog:0.5]", shelf, steps=10, settings=late)) == [
        "steps: steps 1–6", "cat", "steps: steps 7–10", "dog",
    ]  # fmt: skip
    assert shown(read("[cat:dog:9]", shelf, steps=10, settings=late)) == ["cat"]


def test_a_schedule_is_shown_text_by_text(shelf: Shelf):
    assert shown(read("[cat:easynegative:0.5]", shelf, steps=10)) == [
        "steps: steps 1–5", "cat", "steps: steps 6–10", "‹easynegative 4›",
    ]  # fmt: skip
    assert shown(read("[cat|dog]", shelf, steps=3)) == [
        "steps: steps 1, 3", "cat", "steps: step 2", "dog",
    ]  # fmt: skip


def test_the_count_is_that_of_the_longest_text(shelf: Shelf):
    assert read("[cat:easynegative:0.5] AND a", shelf).used == 4


def test_composed_parts_are_shown_with_their_weights(shelf: Shelf):
    assert shown(read("a AND b :0.5", shelf)) == ["and: ", "a", "and: AND ×0.5", "b"]
    assert shown(read("a AND b", shelf, negative=True)) == ["a AND b"]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("<easynegativ>", "There is no embedding “easynegativ”; did you mean “easynegative”?"),
        ("marcallante", "There is no embedding “marcallante”; did you mean “Marc_Allante”?"),
        ("sdxl_face", "The embedding “sdxl_face” was left as words. Made for SDXL"),
        ("huge", "“huge” has 76 vectors"),
        ("pekora", "“pekora” was trained on another checkpoint, anime-v3"),
        ("(a", "1 bracket is opened and not closed"),
        ("a)) b", "2 brackets are closed and not opened"),
        ("<lora:x:nan>", "its strength is not a number"),
        ("a" + " BREAK a" * 100, "Shorten it"),
        (" AND ".join("a" * 40), "AND"),
    ],
)
def test_what_does_not_act_as_written_is_said(text: str, warning: str, shelf: Shelf):
    shelf.put("sdxl_face", {"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)})
    shelf.put("huge", {"clip_l": torch.zeros(76, 16)})
    shelf.put("pekora", {"clip_l": torch.zeros(1, 16)}, trained_on="anime-v3")
    (said,) = read(text, shelf).warnings
    assert warning in said


def test_a_sound_prompt_is_not_warned_of(shelf: Shelf):
    assert read("a (cat:1.2) on a [mat], easynegative, <bad>, painting", shelf).warnings == ()


def test_a_new_embedding_is_seen_at_the_next_key(shelf: Shelf):
    assert shown(read("newcomer", shelf)) == ["newcomer"]
    shelf.put("newcomer", {"clip_l": torch.zeros(2, 16)})
    assert shown(read("newcomer", shelf)) == ["‹newcomer 2›"]
    shelf.take("newcomer")
    assert shown(read("newcomer", shelf)) == ["newcomer"]


NASTY = st.lists(
    st.sampled_from(
        "( ) [ ] : | \\ < > # , . - _ / 0.5 :1.2) 1e999 nan BREAK AND embedding: <lora: bad "
        "bad-hands-5 easynegative full v1 [a:b:0.5] [a|b] <bad> "
        "\u202e \x00 \ud800 \u0301 é 😀 猫".split()
    )
    | st.text(max_size=4)
    | st.just(" ")
).map("".join)


@settings(max_examples=300)
@given(NASTY, st.sampled_from(["original", "none", "ignore"]), st.booleans())
def test_any_text_whatsoever_has_an_x_ray(text: str, emphasis: str, anywhere: bool):
    found = read(text, SHELF, settings=PromptSettings(emphasis, match_anywhere=anywhere), steps=4)
    assert found.limit % 75 == 0
    assert 0 <= found.used <= found.limit
    assert all(sentence.endswith((".", "?")) for sentence in found.warnings)


@pytest.mark.parametrize(
    "text",
    ["(a", "[a:", "[a|b]", "<a:", "embedding:", "BREAK ", " ", "\\", ":1.2)", "a AND ", "bad-"],
)
def test_a_hundred_thousand_characters_have_an_x_ray(text: str, shelf: Shelf):
    count = 100_000 // len(text)
    assert read(text * count, shelf).limit >= 75
