"""Token ids from remembered words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from webui.prompting.tokens import Tokens, find_tokens, token_tree, tokens_of
from webui.settings import ROOT

TOKENIZER = CLIPTokenizer.from_pretrained(ROOT / "models" / "starter" / "tokenizer")
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n\t'.,:-()<|>#1a"))


@given(TEXT)
def test_remembered_words_give_the_ids_of_the_whole_text(text: str):
    tokens = tokens_of(TOKENIZER)
    tokens.learn([text])
    assert list(tokens.of(text)) == TOKENIZER(text, add_special_tokens=False)["input_ids"]


def test_a_text_never_seen_is_tokenized_all_the_same():
    tokens = Tokens(TOKENIZER)
    assert tokens.of("a photo, of") == (320, 1125, 267, 539)
    assert (tokens.bos, tokens.eos, tokens.comma) == (49406, 49407, 267)


def test_the_place_of_each_token_in_the_text_is_known():
    assert Tokens(TOKENIZER).starts("a cat, sat") == [0, 2, 5, 7]


def test_ids_become_words_again():
    assert Tokens(TOKENIZER).text((320, 1125)) == "a photo"


def test_the_padding_that_others_ask_for_is_none_of_ours():
    TOKENIZER(["a"], padding="max_length", max_length=77, truncation=True)
    assert Tokens(TOKENIZER).of("a photo") == (320, 1125)
    assert Tokens(TOKENIZER).of("photo " * 200) == (1125,) * 200


def test_tokens_are_matched_anywhere_longest_first():
    tokens = Tokens(TOKENIZER)
    tree = token_tree(["bad", "bad-artist", "whatever-200"], tokens)

    def found(text: str) -> list[str]:
        return [name for _, _, name in find_tokens(tokens.of(text), tree, bool)]

    assert found("bad-hands-5") == ["bad"]
    assert found("bad-artist-anime") == ["bad-artist"]
    assert found("whatever-2000") == ["whatever-200"]
    assert found("badly") == []
