"""The tables in docs/ that follow from declarations; run as a module, it writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from webui.declarations import Declaration
from webui.generation.request import FIELDS
from webui.training.recipe import SETTINGS

DOCS = Path(__file__).resolve().parent.parent / "docs"
FEW = 6
"""Choices that a table lists; more have a table of their own."""
MARKED = re.compile(r"(<!-- written by tests/field_tables\.py -->\n\n).*?(\n\n<!-- end -->)", re.S)


def request_table() -> str:
    """Return the table of a request's fields."""
    lines = [
        "| control | values | default | in the API | in the parameters | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for field in FIELDS.values():
        option = f"`override_settings.{field.option}`" if field.option else ""
        in_api = f"`{field.api_name}`" if field.api_name else option
        key = f"`{field.infotext}`" if field.infotext else ""
        cells = [field.page_label, values_of(field), default_of(field), in_api, key, field.help]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def recipe_table() -> str:
    """Return the table of a recipe's settings."""
    lines = [
        "| setting | on the page | values | default | Kohya's | A1111's API | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, setting in SETTINGS.items():
        names = [f"`{each}`" if each else "" for each in (setting.kohya, setting.api)]
        where = setting.label if setting.page != "own" else "Crop: position"
        usual = default_of(setting)
        cells = [f"`{name}`", where, values_of(setting), usual, *names, setting.help]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def values_of(field: Declaration) -> str:
    """Return a field's values as the table has them."""
    if field.choices:
        return ", ".join(field.choices) if len(field.choices) <= FEW else "names, below"
    if field.type is bool:
        return "on, off"
    if field.low is None or field.high is None:
        return ""
    multiple = f", multiples of {field.multiple_of}" if field.multiple_of else ""
    high = field.high if isinstance(field.high, int) else f"{field.high:.12g}"
    return f"{field.low:g} to {high}{multiple}"


def default_of(field: Declaration) -> str:
    """Return a field's default as the table has it."""
    if field.default is None:
        return field.note
    if field.default in ("", ()):
        return ""
    if isinstance(field.default, tuple):
        return ", ".join(field.default)
    if isinstance(field.default, bool):
        return "on" if field.default else "off"
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def written(text: str, table: str) -> str:
    """Return a document with its marked table replaced."""
    return MARKED.sub(lambda match: f"{match[1]}{table}{match[2]}", text)


if __name__ == "__main__":
    for name, table in (("txt2img.md", request_table()), ("training.md", recipe_table())):
        page = DOCS / name
        page.write_text(written(page.read_text(encoding="utf-8"), table), encoding="utf-8")
