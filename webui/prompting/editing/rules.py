"""The rules that find calls in a prompt for one model and one set of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webui.prompting.editing.spans import Finder, find_anywhere
from webui.prompting.lookup import Lookup
from webui.prompting.names import find_calls, index_of
from webui.prompting.source import EmbeddingSource
from webui.prompting.tokens import token_tree_of, tokens_of

if TYPE_CHECKING:
    from webui.models.model import Model


def finder_of(source: EmbeddingSource, model: Model | None, anywhere: bool) -> Finder:
    """Return what finds the calls in a text as drawing with a model would.

    Without a model all names count as usable. ``anywhere`` as ``PromptSettings.match_anywhere``.
    """
    index = index_of(source)
    if model is None:
        return lambda text: find_calls(text, index, lambda name: not _explicit_only(source, name))
    lookup = Lookup(source, model.widths, model.name, load=False)

    def accept(name: str) -> bool:
        return lookup.accept_output(name) or lookup.accept(name)

    if not anywhere:
        return lambda text: find_calls(text, index, accept)
    tokens = tokens_of(model.tokenizer)
    tree = token_tree_of(source, tokens)
    return lambda text: find_anywhere(text, index, tokens, tree, accept)


def _explicit_only(source: EmbeddingSource, name: str) -> bool:
    card = source.card(name)
    return card is not None and card.explicit_only
