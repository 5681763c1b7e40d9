"""Styles: pieces of prompts kept under names in AUTOMATIC1111's ``styles.csv``."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from webui.errors import AppError, BadField
from webui.files import write_whole
from webui.generation.request import MAX_PROMPT, PROMPTS, GenerationRequest

PLACEHOLDER = "{prompt}"
"""Stands in a style's prompt where the person's prompt goes; without it the style is appended."""
COLUMNS = ("name", "prompt", "negative_prompt")
LONGEST_NAME = 100
MAX_SIZE_BYTES = 4_000_000
"""A larger file is not read."""


@dataclass(frozen=True)
class Style:
    """One row of the file."""

    name: str
    prompt: str
    negative_prompt: str


class Styles:
    """The styles of one file, read again whenever it has changed. Safe to use from threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._version: list[int] | None = None
        self._styles: Mapping[str, Style] = {}

    def version(self) -> list[int]:
        """Return what differs once the file has changed: time in nanoseconds and size in bytes."""
        try:
            status = self._path.stat()
        except OSError:
            return []
        return [status.st_mtime_ns, status.st_size]

    def all(self) -> list[Style]:
        """Return the styles in the file's order; none without a file.

        Raises AppError if the file cannot be read.
        """
        return list(self._by_name().values())

    def names(self) -> list[str]:
        """Return the names of the styles; none where the file cannot be read."""
        try:
            return list(self._by_name())
        except AppError:
            return []

    def applied(self, request: GenerationRequest) -> GenerationRequest:
        """Return the request with its styles written out in its prompts, and none left.

        Raises BadField for a style that is not there.
        """
        styles = self._by_name() if request.styles else {}
        own_hires = [prompt for prompt in PROMPTS[2:] if getattr(request, prompt)]
        texts = {prompt: getattr(request, prompt) for prompt in (*PROMPTS[:2], *own_hires)}
        for name in request.styles:
            if name not in styles:
                raise BadField("styles", f"There is no style “{name}”.")
            for prompt, text in texts.items():
                negative = prompt.endswith("negative_prompt")
                style = styles[name].negative_prompt if negative else styles[name].prompt
                texts[prompt] = _joined(style, text, name)
        return replace(request, styles=(), **texts)

    def save(self, style: Style) -> None:
        """Add a style, or put it in the place of the one of its name.

        Raises BadField if its name or its texts cannot be used.
        """
        name = " ".join(style.name.split())
        if not name or len(name) > LONGEST_NAME:
            raise BadField("style_name", f"A style needs a name of 1 to {LONGEST_NAME} characters.")
        if not (style.prompt.strip() or style.negative_prompt.strip()):
            raise BadField("prompt", "Both prompts are empty, so there is nothing to save.")
        if max(len(style.prompt), len(style.negative_prompt)) > MAX_PROMPT:
            raise BadField("prompt", f"A prompt may have at most {MAX_PROMPT:,} characters.")
        with self._lock:
            self._write({**self._by_name(), name: replace(style, name=name)})

    def delete(self, name: str) -> None:
        """Take a style out of the file. Raises BadField if it is not there."""
        with self._lock:
            if name not in self._by_name():
                raise BadField("style_name", f"There is no style “{name}”.")
            self._write({key: style for key, style in self._by_name().items() if key != name})

    def _by_name(self) -> Mapping[str, Style]:
        with self._lock:
            version = self.version()
            if version != self._version:
                self._styles = _read(self._path) if version else {}
                self._version = version
            return self._styles

    def _write(self, styles: Mapping[str, Style]) -> None:
        """Write the file with a byte order mark, which spreadsheet programs need for UTF-8."""
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(COLUMNS)
        rows.writerows(
            (style.name, style.prompt, style.negative_prompt) for style in styles.values()
        )
        write_whole(self._path, text.getvalue().encode("utf-8-sig"))


def _joined(style: str, prompt: str, name: str) -> str:
    """Put a prompt into a style, or the style behind the prompt; BadField if it gets too long."""
    if len(style) + max(1, style.count(PLACEHOLDER)) * len(prompt) > MAX_PROMPT + len(PLACEHOLDER):
        text = f"With the style “{name}” a prompt has more than {MAX_PROMPT:,} characters."
        raise BadField("styles", text)
    if PLACEHOLDER in style:
        return style.replace(PLACEHOLDER, prompt)
    return ", ".join(part for part in (prompt.strip(), style.strip()) if part)


def _read(path: Path) -> dict[str, Style]:
    """Return the rows of a file by name; rows without a name are left out.

    Old files call the prompt's column ``text``. Raises AppError if the file is no such table.
    """
    try:
        if path.stat().st_size > MAX_SIZE_BYTES:
            raise AppError(f"{path.name} is too large to be a file of styles.")
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restval=""))
    except (OSError, UnicodeError, csv.Error) as error:
        raise AppError(f"{path.name} is not a table of styles in UTF-8.") from error
    if rows and "name" not in rows[0]:
        raise AppError(f"{path.name} has no column called “name”.")
    styles = (
        Style(
            row["name"].strip(),
            row.get("prompt") or row.get("text") or "",
            row.get("negative_prompt") or "",
        )
        for row in rows
    )
    return {style.name: style for style in styles if style.name}
