"""The errors that people may read; every other exception is logged, not shown."""

from __future__ import annotations

from collections.abc import Sequence


class AppError(Exception):
    """Something the person can mend: what was wrong, with which file or field, what to do.

    The message reaches the page and the API as it stands, so it is whole sentences.
    """


class BadField(AppError):
    """A value in a form or a request that cannot be used; ``field`` names the control."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.messages = {field: message}
        """What is wrong, by field: this, and what else was found at the same time."""

    @classmethod
    def raise_together(cls, problems: Sequence[BadField]) -> None:
        """Raise the first of some problems, with the messages of all; nothing if there are none."""
        if problems:
            for other in problems[1:]:
                problems[0].messages |= other.messages
            raise problems[0]


class UnreadableFile(AppError):
    """A file whose format was recognised, or should have been, but whose content is broken."""


class Interrupted(AppError):
    """The person stopped the work; not a failure."""
