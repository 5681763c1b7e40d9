"""Names found by their tokens, as AUTOMATIC1111 finds them."""

from __future__ import annotations

from webui.prompting.anywhere import find_tokens, token_tree
from webui.prompting.tokens import Tokens


def test_tokens_are_matched_anywhere_longest_first(tokenizer):
    tokens = Tokens(tokenizer)
    tree = token_tree(["bad", "bad-artist", "whatever-200"], tokens)

    def found(text: str) -> list[str]:
        return [name for _, _, name in find_tokens(tokens.of(text), tree, bool)]

    assert found("bad-hands-5") == ["bad"]
    assert found("bad-artist-anime") == ["bad-artist"]
    assert found("whatever-2000") == ["whatever-200"]
    assert found("badly") == []
