"""An embedding that is still being trained, callable in prompts beside those of the library."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from webui.embeddings.embedding import Embedding
from webui.embeddings.library import Card, EmbeddingLibrary


class LibraryOverlay:
    """The library's embeddings and one more, which takes the place of a file of its name.

    Satisfies ``webui.prompting.source.EmbeddingSource``.
    """

    def __init__(self, library: EmbeddingLibrary, draft: Embedding) -> None:
        self._library = library
        self._draft = draft
        self._card = Card(
            name=draft.name,
            path=Path(draft.name),
            root=Path(),
            folder="",
            widths=draft.widths,
            vectors=len(draft),
            content_hash=draft.content_hash,
        )

    @property
    def version(self) -> int:
        """The library's version; two drafts are told apart by their objects."""
        return self._library.version

    def names(self) -> Collection[str]:
        """Return the library's names and the draft's."""
        others = (name for name in self._library.names() if not self._is_draft(name))
        return [*others, self._draft.name]

    def get(self, name: str) -> Embedding | None:
        """Return the draft or an embedding of the library."""
        return self._draft if self._is_draft(name) else self._library.get(name)

    def card(self, name: str) -> Card | None:
        """Return what is known of the draft or of an embedding of the library."""
        return self._card if self._is_draft(name) else self._library.card(name)

    def _is_draft(self, name: str) -> bool:
        return name.casefold() == self._draft.name.casefold()
