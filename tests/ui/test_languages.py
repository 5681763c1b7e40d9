"""The tables of the page's texts: complete, alike, and without entries that nothing uses."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from tests.trees import parsed
from webui.generation.request import FIELDS
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES
from webui.generation.upscaling import UPSCALERS
from webui.settings import CODE, Settings
from webui.studio.studio import Studio
from webui.training.presets import PRESETS
from webui.training.recipe import SETTINGS
from webui.ui import languages, page
from webui.ui.polling import Poll
from webui.ui.tools import Tools
from webui.ui.txt2img.styles_panel import ABOUT

HOLE = re.compile(r"\{(?:n|text)?\}")
TABLES = {path.stem: languages.read(path) for path in sorted(languages.SHIPPED.glob("*.json"))}
KEYS = TABLES["de"].keys()
PATTERNS = [
    re.compile(".+".join(map(re.escape, HOLE.split(key))), re.DOTALL)
    for key in KEYS
    if HOLE.search(key)
]


def known(text: str) -> bool:
    """Whether the tables have a text, in which {} stands for what changes, or all parts of it."""
    text = " ".join(text.split())
    if not re.search(r"[^\W\d_]{2}", text) or text in KEYS:
        return True
    if any(pattern.fullmatch(text) for pattern in PATTERNS):
        return True
    parts = text.split(" · ")
    return len(parts) > 1 and all(known(part) for part in parts)


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((CODE / "webui" / folder).rglob("*.py"))


def strings(path: Path) -> Iterator[str]:
    """Yield the texts in a module, docstrings left out, with {} for what is put into them."""
    queue: list[ast.AST] = [parsed(path)]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            queue += [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        else:
            queue += ast.iter_child_nodes(node)


class Texts(HTMLParser):
    """Collects what a piece of HTML shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("placeholder", "title", "aria-label")
        self.found += [value for name, value in attrs if value and name in names]

    def handle_data(self, data: str) -> None:
        self.found.append(data.replace("$noun", "embeddings").replace("$title", "Embeddings"))


def test_the_tables_are_flat_sorted_and_have_the_same_entries_with_the_same_holes():
    for code, table in TABLES.items():
        text = (languages.SHIPPED / f"{code}.json").read_text(encoding="utf-8")
        assert list(json.loads(text)) == sorted(table), code
        assert table.keys() == KEYS, code
        holes = {key: HOLE.findall(key) for key in table}
        assert {key: HOLE.findall(said) for key, said in table.items()} == holes, code
        assert all(said.strip() for said in table.values()), code


NAMES = {
    *SAMPLERS,
    *SCHEDULE_TYPES,
    *UPSCALERS,
    "ComfyUI",
    "CPU",
    "GPU",
    "NV",
    "fp32",
    "bf16",
    "fp16",
}
"""What is called the same in every language; a few of these have entries all the same."""
GRADIOS = {
    "- or -", "Click to Upload", "Connection errored out.", "Copied", "Drop File Here",
    "Drop Image Here", "Empty value", "Exit fullscreen mode", "Fullscreen", "Logo",
    "Gradio footer navigation", "Paste from Clipboard", "Paste from clipboard", "Remove Image",
    "Remove this file", "Thumbnail {n} of {n}", "Upload file", "Uploading...", "Use via API",
    "Use via API or MCP", "Waiting for file(s) to finish uploading, please retry.", "common.upload",
    "detailed view of selected image", "number input for {text}", "range slider for {text}",
}  # fmt: skip
"""What Gradio itself says on a page in English."""
FONTS = {"DejaVu Sans Mono", "Segoe UI", "SF Mono"}
COMPOSED = {
    "Add to {}", "All folders", "Fixed {} Values", "Moved to", "Moved {} to {}.", "Put {} into {}.",
    "Remove from {}", "Renamed to", "Restored {}.", "Swap {}/{} axes",
    "The server did not answer, so {} is as it was.", "Embeddings WebUI", ABOUT,
}  # fmt: skip
"""What further pieces of the code make whole."""
MOST_PIECES = 3
"""Of so many further pieces than it has holes, each in one place of the code, an entry is made."""


def declared() -> Iterator[str]:
    """Yield what the declarations say to people."""
    for field in (*FIELDS.values(), *SETTINGS.values()):
        yield from (field.label, field.page_label, field.note if field.optional else "")
        yield from field.help.split("`")[::2]  # what is between two is code
        labelled = field.name in SETTINGS and isinstance(field.choices, Mapping)
        yield from field.choices.values() if labelled else set(field.choices) - NAMES
    for preset in PRESETS.values():
        yield from (preset.label, preset.summary)


def on_the_page(studio: Studio) -> Iterator[str]:
    """Yield what the page's configuration holds of texts that are shown."""
    for component in page.build(studio, Poll()).config["components"]:
        props: dict[str, Any] = component["props"]
        if component["type"] in ("state", "json", "timer") or props.get("visible") == "hidden":
            continue
        shown = [props.get(name) or "" for name in ("label", "info", "placeholder")]
        if "names" not in (props.get("elem_classes") or []):
            shown += [label for label, _ in props.get("choices") or []]
        if component["type"] == "html":
            for name in ("value", "html_template"):
                shown += Texts(str(props.get(name) or "")).found
        if component["type"] in ("button", "uploadbutton"):
            shown.append(props.get("value") or props.get("label") or "")
        yield from (part for text in shown for part in str(text).split("`")[::2])


def test_all_that_the_declarations_say_is_in_the_tables():
    assert sorted({text for text in declared() if not known(text)}) == []


def test_all_that_the_page_shows_at_first_is_in_the_tables(studio: Studio):
    tools = (Tools.draw, Tools.embeddings, Tools.train, Tools.score)
    hidden = {name for tool in tools for name in signature(tool).parameters}
    hidden |= {"${value}", "Run", "image", "parameters", ".safetensors"}
    unknown = {text for text in on_the_page(studio) if not known(text)}
    assert sorted(unknown - NAMES - hidden) == []


def test_every_sentence_of_the_pages_code_is_in_the_tables():
    """A sentence that is put together of pieces is found where the page is looked at in German."""
    ours = [text for path in sources("ui") for text in strings(path)]
    for path in (CODE / "webui" / "ui" / "assets").glob("*.js"):
        script = re.sub(r"^\s*//.*$|\" \+\s*\"", "", path.read_text(encoding="utf-8"), flags=re.M)
        ours += re.findall(r'"([^"\n]*)"', script)
        ours += [re.sub(r"\$\{[^{}]*\}", "{}", text) for text in re.findall(r"`([^`]*)`", script)]
    said = {text for text in ours if re.fullmatch(r"[A-Z“][^<>=#]*\w[ ,][^<>=#]*\w.?", text)}
    assert len(said) > 100
    assert sorted(text for text in said - COMPOSED - FONTS if not known(text)) == []


def words(text: str) -> str:
    return " ".join(re.findall(r"[\w'’]+", text)).casefold()


def test_no_entry_is_of_a_text_that_is_not_there_any_more():
    """An entry is made of pieces of the code, between the holes and where words are chosen."""
    found = list({words(text) for path in sources(".") for text in strings(path)})
    for path in (CODE / "webui" / "ui" / "assets").iterdir():
        found.append(words(re.sub(r'" \+\s*"', "", path.read_text(encoding="utf-8"))))
    code = f" {' | '.join(found)} "
    known_as_such = set(map(words, declared())) | set(map(words, GRADIOS))

    def pieces(text: str) -> int:
        """Return into how few pieces that stand in the code a text falls."""
        left, count = text.split(), 0
        while left:
            most = len(left)
            while most and f" {' '.join(left[:most])} " not in code:
                most -= 1
            if not most:
                return len(KEYS)
            left, count = left[most:], count + 1
        return count

    def is_dead(key: str) -> bool:
        parts = [words(part) for part in re.split(HOLE.pattern + r"|\b\d+\b", key)]
        parts = [part for part in parts if part]
        return words(key) not in known_as_such and (
            sum(map(pieces, parts)) > len(parts) + MOST_PIECES
        )

    assert [key for key in KEYS if key not in GRADIOS and is_dead(key)] == []


def test_a_persons_own_table_is_offered_and_what_is_none_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def write(name: str, text: str) -> None:
        (tmp_path / name).write_text(text, encoding="utf-8")

    write("eo.json", '{"English": "Esperanto <b>", "Train": "Trejni"}')
    write("de.json", '{"English": "Mein Deutsch"}')
    write("it.json", '{"English": {"deep": "no"}}')
    write("es.json", "no JSON")
    write("pt.json", json.dumps({"English": "x" * languages.LARGEST_BYTES}))
    write("../x.json", "{}")
    with caplog.at_level(logging.WARNING):
        found = languages.tables(replace(Settings(), languages_dir=tmp_path))
    assert list(found) == ["de", "eo", "fr"]
    assert found["de"] == tmp_path / "de.json" and "it.json" in caplog.text
    assert "Esperanto &lt;b&gt;" in languages.menu(found).value
    assert '"eo": "languages/eo?' in languages.addresses(found)


def test_a_table_that_is_none_hides_no_shipped_one_and_a_pipe_is_not_waited_for(tmp_path: Path):
    (tmp_path / "de.json").write_text("no table")
    os.mkfifo(tmp_path / "fr.json")
    found = languages.tables(replace(Settings(), languages_dir=tmp_path))
    assert found == languages.tables(replace(Settings(), languages_dir=tmp_path / "nowhere"))
    assert set(found) == {"de", "fr"}
