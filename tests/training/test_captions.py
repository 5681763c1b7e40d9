"""Captions: templates, text files, and token ids with places for vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPTokenizer

from webui.embeddings.embedding import Embedding
from webui.errors import AppError, BadField
from webui.models.model import Model
from webui.prompting.chunks import Chunk, Insert, Words
from webui.prompting.tokens import tokens_of
from webui.training.captions import (
    STYLE_OF_TEMPLATES,
    TEMPLATES,
    caption,
    caption_advice,
    examples,
    initializer_advice,
    initializer_tokens,
    lay_out_caption,
    preview_of,
    previews_of,
    prompt_of,
    read_templates,
    vector_count,
)
from webui.training.dataset import Picture
from webui.training.learned.concepts import Concept
from webui.training.presets import PRESETS, preset
from webui.training.recipe import Recipe

CAT = Picture(Path("cat.png"), Image.new("RGB", (8, 8)), None, "", "sitting on a mat", True)
MY_CAT = (Concept("my-cat", "cat"),)


@pytest.fixture(scope="module")
def tokenizer(model: Model) -> CLIPTokenizer:
    return model.tokenizer


def vectors(count: int) -> Insert:
    return Insert(Embedding("my-cat", {"clip_l": torch.zeros(count, 4)}))


def positions(chunk: Chunk) -> list[int]:
    return [slot.position for slot in chunk.slots]


def test_vectors_stand_by_position_whatever_the_name_would_tokenize_to(tokenizer: CLIPTokenizer):
    chunk = lay_out_caption(tokenizer, "a photo of a [name] here", vectors(3))
    tokens = tokens_of(tokenizer)
    ids = chunk.token_ids
    assert ids[0] == tokens.bos and ids[1:5] == tokens.of("a photo of a")
    assert positions(chunk) == [5] and ids[8:9] == tokens.of("here")
    assert chunk.end == 9 and set(ids[9:]) == {tokens.eos} and len(ids) == 77


def test_a_name_may_stand_twice(tokenizer: CLIPTokenizer):
    assert positions(lay_out_caption(tokenizer, "[name] and [name]", vectors(2))) == [1, 4]


def test_a_caption_that_is_too_long_keeps_the_name(tokenizer: CLIPTokenizer):
    long = "word " * 100
    for line in (f"{long}[name]", f"[name] {long}", f"{long}[name] {long}", f"{long}, [name],"):
        chunk = lay_out_caption(tokenizer, line, vectors(4))
        [position] = positions(chunk)
        assert len(chunk.token_ids) == 77 and position + 4 <= chunk.end <= 76
    assert positions(lay_out_caption(tokenizer, f"[name] {'word ' * 69}[name]", vectors(4))) == [1]


def test_words_in_the_place_of_the_name_give_an_ordinary_prompt(tokenizer: CLIPTokenizer):
    name = Words(tokens_of(tokenizer).of("grey cat"))
    chunk = lay_out_caption(tokenizer, "a photo of a [name] here", name)
    padded = tokenizer("a photo of a grey cat here", padding="max_length", max_length=77)
    assert list(chunk.token_ids) == padded.input_ids


def test_each_kind_has_its_own_sentences():
    assert "style" in TEMPLATES["style"][0] and "style" not in " ".join(TEMPLATES["object"])
    for kind, lines in TEMPLATES.items():
        assert all(line.count("[name]") == 1 for line in lines), kind


def test_only_the_style_preset_speaks_of_a_style():
    for key, chosen in PRESETS.items():
        recipe = chosen.recipe
        said = " ".join(examples(recipe, [CAT], MY_CAT, 50))
        assert ("style" in said) == (key == "style"), key
        assert (CAT.text in said) == (key == "style"), key


def test_the_draw_chooses_the_sentence():
    lines = {caption(Recipe(), CAT, MY_CAT, draw / 50) for draw in range(50)}
    assert lines == set(TEMPLATES["object"])


def test_text_files_follow_the_sentences_or_replace_them():
    words = caption(replace(Recipe(), caption_mode="filewords"), CAT, MY_CAT, 0.0)
    assert words == "a photo of a [name], sitting on a mat"
    named = replace(CAT, text="my-cat on a mat")
    assert caption(replace(Recipe(), caption_mode="files"), named, MY_CAT, 0.0) == (
        "[name] on a mat"
    )


def test_a_style_is_told_of_what_is_on_the_images_where_a_text_or_a_name_says_it():
    style = preset("style", "sd1")
    lines = {caption(style, CAT, MY_CAT, draw / 50) for draw in range(50)}
    assert lines == {line.replace("[filewords]", CAT.text) for line in STYLE_OF_TEMPLATES}
    assert caption_advice(style, [CAT]) is None
    named = replace(CAT, text="red_house", has_text_file=False)
    assert caption(style, named, MY_CAT, 0.0) == "red house in the style of [name]"
    numbered = replace(CAT, text="IMG_2034", has_text_file=False)
    assert caption(style, numbered, MY_CAT, 0.0) == TEMPLATES["style"][0]
    assert "Call the files what they show" in str(caption_advice(style, [numbered]))
    assert caption_advice(replace(style, caption_mode="files"), [numbered]) is None
    assert caption_advice(Recipe(), [numbered]) is None


@pytest.mark.parametrize("mode", ["templates", "filewords", "files"])
def test_with_guidance_in_the_loop_the_text_is_the_prompt_and_the_name_stands_alone(mode: str):
    guided = Recipe(kind="negative", guidance_scale=4, caption_mode=mode)
    assert prompt_of(guided, replace(CAT, text="a [name] on a mat, [name]")) == "a on a mat"
    assert [caption(guided, CAT, MY_CAT, draw / 5) for draw in range(5)] == list(
        TEMPLATES["negative"]
    )
    assert caption_advice(guided, [CAT]) is None
    numbered = replace(CAT, text="IMG_2034", has_text_file=False)
    assert prompt_of(guided, numbered) == ""
    assert "each image needs a prompt" in str(caption_advice(guided, [CAT, numbered]))
    assert (
        not replace(guided, kind="object").guided and not replace(guided, guidance_scale=0).guided
    )


def test_tags_are_dropped_and_shuffled_by_lot_and_the_one_with_the_name_is_kept():
    tagged = replace(CAT, text="my-cat on a mat, red, indoors, from above")
    recipe = Recipe(caption_mode="files", tag_dropout=0.5, shuffle_tags=True)
    drawn = [caption(recipe, tagged, MY_CAT, draw / 200) for draw in range(200)]
    parts = [line.split(", ") for line in drawn]
    assert all("[name] on a mat" in tags for tags in parts)
    assert 0.4 < sum("red" in tags for tags in parts) / 200 < 0.6
    assert {len(tags) for tags in parts} == {1, 2, 3, 4}
    assert {tags[0] for tags in parts} == {"[name] on a mat", "red", "indoors", "from above"}
    assert drawn == [caption(recipe, tagged, MY_CAT, draw / 200) for draw in range(200)]
    sentences = replace(recipe, caption_mode="filewords", tag_dropout=1.0)
    assert caption(sentences, tagged, [Concept("x", "cat")], 0.0) == "a photo of a [name]"


@pytest.mark.parametrize("captions", ["templates", "filewords", "files"])
def test_a_share_of_the_samples_has_the_name_alone(captions: str):
    """An empty caption, as other programs have it, would teach the vectors nothing."""
    recipe = Recipe(caption_mode=captions, caption_dropout=0.3)
    named = replace(CAT, text="my-cat on a mat")
    drawn = [caption(recipe, named, MY_CAT, draw / 200) for draw in range(200)]
    assert 0.2 < drawn.count("[name]") / 200 < 0.4
    kept = replace(recipe, append_initializer=True, caption_dropout=1.0)
    assert caption(kept, named, MY_CAT, 0.0) == "[name] cat"


def test_a_caption_without_the_name_is_refused_even_if_it_may_be_dropped():
    with pytest.raises(AppError, match="does not hold the name"):
        caption(Recipe(caption_mode="files", caption_dropout=1.0), CAT, MY_CAT, 0.0)


def test_previews_of_a_fault_may_have_it_in_the_negative_prompt():
    fault = Recipe(kind="negative")
    assert preview_of(fault, "a house", "smudged") == ("a house", "smudged")
    assert preview_of(fault, "a house, [name]", "smudged") == ("a house, smudged", "")
    assert preview_of(Recipe(), "a house", "my-cat") == ("a house", "")


def test_own_sentences_take_name_and_filewords():
    recipe = Recipe(templates=("[filewords], by [name]",))
    assert caption(recipe, CAT, MY_CAT, 0.5) == "sitting on a mat, by [name]"
    with pytest.raises(BadField, match="lacks"):
        Recipe(templates=("a photo",))


def test_a_caption_without_the_name_is_refused_by_file():
    with pytest.raises(AppError, match="cat.png.*does not hold the name"):
        caption(Recipe(caption_mode="files"), CAT, MY_CAT, 0.0)


def test_the_initializer_can_follow_the_name():
    recipe = Recipe(append_initializer=True)
    assert caption(recipe, CAT, [Concept("ann", "person")], 0.0) == "a photo of a [name] person"


def test_stages_have_sentences_of_their_own_for_their_share_of_the_run():
    lines = (
        "# 50 %",
        "[name]",
        "# 25",
        "[name] painting",
        "a [name] painting",
        "#25%",
        "[name], x",
    )
    recipe = Recipe(templates=lines)
    for at, sentences in (
        (0.0, {"[name]"}), (0.49, {"[name]"}), (0.5, {"[name] painting", "a [name] painting"}),
        (0.75, {"[name], x"}), (1.0, {"[name], x"}),
    ):  # fmt: skip
        drawn = {caption(recipe, CAT, MY_CAT, draw / 20, at) for draw in range(20)}
        assert drawn == sentences, at
    shown = examples(recipe, [CAT], MY_CAT, 8)
    assert shown[:4] == ["my-cat"] * 4 and shown[6:] == ["my-cat, x"] * 2


def test_stages_that_make_no_sense_are_refused_at_their_field():
    with pytest.raises(BadField, match="40 % has no templates") as caught:
        Recipe(templates=("# 40 %", "# 60 %", "[name]"))
    assert caught.value.field == "templates"


def test_examples_show_captions_with_the_name():
    shown = examples(Recipe(), [CAT], MY_CAT)
    assert len(shown) == 10 and all("my-cat" in line for line in shown)
    assert examples(Recipe(), [], MY_CAT) == []


def test_an_empty_initializer_is_refused_in_words(tokenizer: CLIPTokenizer):
    with pytest.raises(BadField, match="initializer is empty") as caught:
        initializer_tokens(tokenizer, "  ")
    assert caught.value.field == "initializer"


def test_an_initializer_that_is_cut_is_shown_token_by_token(tokenizer: CLIPTokenizer):
    told = initializer_advice(Recipe(vectors=2), tokenizer, "grey tabby cat")
    assert "3 tokens" in told and "grey · tabby · cat" in told and "has 2" in told
    assert initializer_advice(Recipe(vectors=3), tokenizer, "grey tabby cat") is None
    assert initializer_advice(Recipe(vectors=8), tokenizer, "grey tabby cat") is None
    assert initializer_advice(Recipe(), tokenizer, "grey tabby cat") is None
    assert "5 tokens" in initializer_advice(Recipe(), tokenizer, "one two three four five")


def test_an_initializer_without_meaning_is_told(tokenizer: CLIPTokenizer):
    assert "means nothing" in initializer_advice(Recipe(), tokenizer, " * ")
    assert initializer_advice(Recipe(), tokenizer, "") is None, "which is refused elsewhere"


def test_vectors_are_counted_by_the_initializer_unless_the_recipe_says(tokenizer: CLIPTokenizer):
    ids = initializer_tokens(tokenizer, "grey tabby cat")
    assert vector_count(Recipe(), ids) == len(ids)
    assert vector_count(Recipe(), ids * 4) == 4
    assert vector_count(Recipe(vectors=2), ids) == 2


def test_a_file_of_templates_is_read_line_by_line(tmp_path: Path):
    path = tmp_path / "mine.txt"
    path.write_text("\ufeffa drawing of [name]\n\n  [name], [filewords]  \n", encoding="utf-8")
    lines = read_templates(path)
    assert lines == ("a drawing of [name]", "[name], [filewords]")
    assert caption(Recipe(templates=lines), CAT, MY_CAT, 0.9) == f"[name], {CAT.text}"


@pytest.mark.parametrize("content", [b"an image\n", b"", b"\xff\xfe\x00"])
def test_a_file_that_holds_no_templates_is_refused_by_name(tmp_path: Path, content: bytes):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(AppError, match="mine.txt"):
        read_templates(path)


BOTH = (Concept("my-cat", "cat"), Concept("my-dog", "dog"))


def test_a_caption_may_hold_several_names(tokenizer: CLIPTokenizer):
    picture = replace(CAT, text="[name] chasing my-cat, on grass", concept=1)
    assert caption(Recipe(caption_mode="files"), picture, BOTH, 0.0) == (
        "[name 2] chasing [name], on grass"
    )
    words = replace(Recipe(), caption_mode="filewords")
    assert caption(words, picture, BOTH, 0.0) == (
        "a photo of a [name 2], [name 2] chasing [name], on grass"
    )
    kept = replace(words, append_initializer=True, caption_mode="files")
    assert caption(kept, picture, BOTH, 0.0) == "[name 2] dog chasing [name] cat, on grass"
    chunk = lay_out_caption(tokenizer, "[name 2] and [name]", vectors(2), vectors(3))
    assert [(slot.position, len(slot.embedding)) for slot in chunk.slots] == [(1, 3), (5, 2)]
    shown = examples(words, [CAT, picture], BOTH, 4)
    assert "my-cat" in shown[0] and "my-dog" in shown[1] and "my-cat" in shown[1]


def test_a_mark_of_a_name_that_the_run_has_not_is_refused():
    with pytest.raises(AppError, match="2 names"):
        caption(Recipe(templates=("[name] and [name 3]",)), CAT, BOTH, 0.0)


def test_each_prompt_is_a_preview_of_each_name_unless_it_calls_several():
    recipe = Recipe(preview_prompts=("a [name]", "[name] beside [name 2]"))
    assert [tuple(each) for each in previews_of(recipe, ["my-cat", "my-dog"])] == [
        ("a my-cat", "", 0),
        ("a my-dog", "", 1),
        ("my-cat beside my-dog", "", 0),
    ]
