"""The prompt language's rules as they are now: with this library, this model, these names."""

from __future__ import annotations

from webui.prompting.editing.spans import Finder, find_anywhere
from webui.prompting.lookup import Lookup
from webui.prompting.names import find_calls, index_of
from webui.prompting.tokens import token_tree_of, tokens_of
from webui.studio.studio import Studio


def finder_of(studio: Studio, anywhere: bool) -> Finder:
    """Return what finds the calls in a text as drawing with the loaded model would.

    Without a model all names count as usable. ``anywhere`` as ``PromptSettings.match_anywhere``.
    """
    library, model = studio.library, studio.models.state.model
    index = index_of(library)
    if model is None:
        return lambda text: find_calls(text, index, lambda name: not _explicit_only(studio, name))
    accept = Lookup(library, model.widths, model.name, load=False).accept
    if not anywhere:
        return lambda text: find_calls(text, index, accept)
    tokens = tokens_of(model.tokenizer)
    tree = token_tree_of(library, tokens)
    return lambda text: find_anywhere(text, index, tokens, tree, accept)


def _explicit_only(studio: Studio, name: str) -> bool:
    card = studio.library.card(name)
    return card is not None and card.explicit_only
