"""What is done with several cards at once: the grid's script calls it with the cards' keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from webui.embeddings.library import TRASH_KEPT_S, Card
from webui.errors import AppError
from webui.studio.studio import Studio


def actions(studio: Studio) -> list[Callable[[Any], dict[str, Any]]]:
    """Return ``move``, ``delete`` and ``restore``.

    Each takes what the page sends, which may be anything, and returns what was ``said``, the
    ``problems`` of those that were left as they are, and of deleted ones the ``tokens`` to restore
    them with; all are sentences for people.
    """
    library = studio.library

    def move(asked: Any) -> dict[str, Any]:
        folder = _texts(asked, "folder")[:1] or [""]
        place = folder[0].strip()
        moved, problems = _each(
            studio, asked, lambda card: library.move(card.name, place, card.path)
        )
        return _told(f"Moved {_count(moved)} to {place or 'the top level'}.", moved, problems)

    def delete(asked: Any) -> dict[str, Any]:
        tokens, problems = _each(studio, asked, lambda card: library.delete(card.name, card.path))
        said = f"Moved {_count(tokens)} to trash (kept {TRASH_KEPT_S // 86_400} days)."
        return {**_told(said, tokens, problems), "tokens": tokens}

    def restore(asked: Any) -> dict[str, Any]:
        restored, problems = [], []
        for token in _texts(asked, "tokens"):
            try:
                library.undo_delete(token)
                restored.append(token)
            except AppError as error:
                problems.append(str(error))
        return _told(f"Restored {_count(restored)}.", restored, problems)

    return [move, delete, restore]


def _each(studio: Studio, asked: Any, change: Callable[[Card], Any]) -> tuple[list[Any], list[str]]:
    """Change every card that is asked for; return what came of it, and what went wrong."""
    done, problems = [], []
    for key in _texts(asked, "keys"):
        card = studio.library.card_at(key)
        try:
            if card is None:
                raise AppError("A file is gone. It may have been moved or deleted meanwhile.")
            done.append(change(card))
        except AppError as error:
            problems.append(f"{card.name}: {error}" if card else str(error))
    return done, problems


def _told(said: str, done: Sequence[Any], problems: list[str]) -> dict[str, Any]:
    return {"said": said if done else "", "problems": problems}


def _count(done: Sequence[Any]) -> str:
    return "1 embedding" if len(done) == 1 else f"{len(done)} embeddings"


def _texts(asked: Any, name: str) -> list[str]:
    """Return the text or texts under a name; nothing where the page sent something else."""
    given = asked.get(name) if isinstance(asked, dict) else None
    return [
        text for text in (given if isinstance(given, list) else [given]) if isinstance(text, str)
    ]
