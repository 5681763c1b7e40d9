"""Small pieces of HTML made in Python; every text in them is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Verbatim(str):
    """A name, or another text that is the same in every language."""


def message(text: str, kind: str = "plain") -> str:
    """Return a message box; ``kind`` is plain, good, warn or bad."""
    role = "alert" if kind == "bad" else "status"
    return f'<p class="message message-{kind}" role="{role}">{escape(text)}</p>'


def progress(done: int, total: int, text: str) -> str:
    """Return a progress bar with a line of text under it."""
    percent = 100 * done / total if total else 0
    return (
        '<div class="progress"><div class="progress-track" role="progressbar" '
        'aria-label="Progress" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}">'
        f'<div class="progress-fill" style="width:{percent:.1f}%"></div></div>'
        f'<p class="progress-text">{escape(text)}</p></div>'
    )


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values; rows whose value is None or empty are left out."""
    cells = "".join(
        f"<tr>{_cell('th', name)}{_cell('td', value)}</tr>"
        for name, value in rows
        if value not in (None, "", ())
    )
    return f'<table class="facts">{cells}</table>'


def _cell(tag: str, content: object) -> str:
    kept = ' translate="no"' if isinstance(content, Verbatim) else ""
    return f"<{tag}{kept}>{escape(str(content))}</{tag}>"


def duration(seconds: float | None) -> str:
    """Return a time for people: ``4 s``, ``2 min 10 s``, ``1 h 05 min``."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
