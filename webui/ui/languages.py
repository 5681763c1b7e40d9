"""The languages that the page can be shown in: a table each, by its code, ``de.json``.

A table is flat JSON from the English text to that of the language. English needs none: it stands in
the code, and in the page until its script has put another language in its place.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

import gradio as gr

from webui.errors import AppError
from webui.files import open_regular
from webui.plain_json import bounded_json
from webui.settings import Settings

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "languages"
LARGEST_BYTES = 1_000_000
MOST_ENTRIES = 20_000
NAME = "English"
"""The entry that says what a language calls itself."""


def tables(settings: Settings) -> dict[str, Path]:
    """Return the tables by code: those that ship, and a person's own, which come before them.

    Own ones that cannot be used are left out, and the log says why.
    """
    paths = [*SHIPPED.glob("*.json"), *settings.languages_dir.glob("*.json")]
    found = {path.stem: path for path in paths if _is_usable(path)}
    return dict(sorted(found.items()))


def read(path: Path) -> dict[str, str]:
    """Return a table; raises AppError, ValueError or OSError for what is none."""
    with open_regular(path) as file:
        data = file.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"it is larger than {LARGEST_BYTES:,} bytes")
    entries = bounded_json(data, MOST_ENTRIES)
    if not isinstance(entries, dict) or not all(isinstance(each, str) for each in entries.values()):
        raise ValueError("it is not flat: a text for each English text")
    return entries


def _is_usable(path: Path) -> bool:
    try:
        if not re.fullmatch(r"[a-z]{2}", path.stem):
            raise ValueError("its name is not a code of two letters, such as de.json")
        read(path)
    except (AppError, ValueError, OSError) as error:
        log.warning("The table of texts %s is left out: %s.", path, error)
        return False
    return True


def addresses(tables: Mapping[str, Path]) -> str:
    """Return the script that tells the page where the tables are, each with a stamp."""
    stamps = {code: path.stat().st_mtime_ns for code, path in tables.items()}
    urls = {code: f"languages/{code}?{stamp}" for code, stamp in stamps.items()}
    return f"<script>window.languageTables = {json.dumps(urls)};</script>"


def menu(tables: Mapping[str, Path]) -> gr.HTML:
    """Build the choice of the language inside the open Blocks."""
    names = {"en": NAME} | {code: read(path).get(NAME, code) for code, path in tables.items()}
    options = "".join(
        f'<option value="{code}" lang="{code}" translate="no">{escape(name)}</option>'
        for code, name in names.items()
    )
    return gr.HTML(
        f'<select aria-label="Language" title="Language">{options}</select>',
        js_on_load="""const menu = element.querySelector("select");
            menu.value = window.language.code;
            menu.addEventListener("change", () => window.language.choose(menu.value));""",
        apply_default_css=False,
        elem_id="language",
    )
