"""What comes up at the edge of the page is text."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.trees import parsed
from webui.errors import AppError
from webui.ui.toasts import failure

WEBUI = Path(__file__).resolve().parents[2] / "webui"


def test_a_file_name_in_a_message_stays_text():
    name = "<img src=http://evil.example/a.png>.pt"
    said = failure(AppError(f"“{name}” & more")).message
    assert "<" not in said and "&lt;img" in said and "&amp; more" in said


TOASTS = {"Error", "Warning", "Info", "Success", "validate"}


def test_there_is_no_other_way_to_such_a_message():
    """Gradio's toasts are named in one module, which escapes; by whatever name Gradio goes."""
    ways = [
        f"{path.relative_to(WEBUI)}:{node.lineno}"
        for path in WEBUI.rglob("*.py")
        if path.name != "toasts.py"
        for node in ast.walk(parsed(path))
        if _names_a_toast(node)
    ]
    assert not ways


def _names_a_toast(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        from_gradio = (node.module or "").split(".")[0] == "gradio"
        return from_gradio and any(name.name in TOASTS | {"*"} for name in node.names)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id in ("gr", "gradio") and node.attr in TOASTS
    if isinstance(node, ast.Import):
        return any(name.name == "gradio" and name.asname != "gr" for name in node.names)
    return False


def test_the_modules_look_for_no_other_way_in_scripts():
    for path in WEBUI.rglob("assets/*.js"):
        found = re.findall(r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write)\b",
                           path.read_text())  # fmt: skip
        assert not found, path
