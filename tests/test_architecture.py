"""Imports only point down the floors, and only their own rooms know Gradio and FastAPI."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import pytest

WEBUI = Path(__file__).resolve().parent.parent / "webui"
FLOORS = {
    "ui": 3, "api": 3, "cli": 3, "bootstrap": 3, "__main__": 3,
    "studio": 2,
    "generation": 1, "training": 1, "prompting": 1, "embeddings": 1, "models": 1,
    "settings": 0, "errors": 0, "files": 0, "images": 0, "unpickling": 0, "declared": 0,
    "declarations": 0, "job_state": 0,
}  # fmt: skip
MAY_USE = {
    "generation": {"prompting", "embeddings", "models"},
    "training": {"prompting", "embeddings", "models"},
    "prompting": {"embeddings", "models"},
    "embeddings": set(),
    "models": set(),
}
"""Which rooms of floor 1 may use which others of it."""
HEAVY = {"torch", "diffusers", "transformers"}
MODULES = sorted(WEBUI.rglob("*.py"))


def room_of(dotted: str) -> str | None:
    """The room of a dotted webui name, e.g. "webui.ui.cards" -> "ui"."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "webui" and len(parts) > 1 else None


def _parsed(path: Path) -> ast.Module:
    """A module's tree. Python 3.11 refuses it once in a while when another thread parses, too."""
    text = path.read_text(encoding="utf-8")
    try:
        return ast.parse(text)
    except SystemError:
        return ast.parse(text)


@lru_cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, wherever in the file."""
    names: list[str] = []
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(WEBUI)))
def test_imports_point_down(path: Path):
    here = path.relative_to(WEBUI).parts[0].removesuffix(".py")
    if here == "__init__":
        return
    for name in imports(path):
        there = room_of(name)
        if there in (None, here) or there not in FLOORS:
            continue
        if FLOORS[here] == 0:
            assert FLOORS[there] == 0, f"{here} must not use {there} ({name})"
        elif FLOORS[here] == FLOORS[there] == 1:
            assert there in MAY_USE[here], f"{here} must not use {there} ({name})"
        elif FLOORS[here] in (1, 2):
            assert FLOORS[there] < FLOORS[here], f"{here} must not use {there} ({name})"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(WEBUI)))
def test_only_the_page_knows_gradio_and_only_the_routes_know_fastapi(path: Path):
    here = path.relative_to(WEBUI).parts[0].removesuffix(".py")
    for name in imports(path):
        if name.split(".")[0] == "gradio":
            assert here in ("ui", "bootstrap")
        if name.split(".")[0] in ("fastapi", "starlette"):
            assert here in ("api", "bootstrap")


def test_the_page_is_built_without_importing_torch():
    import subprocess
    import sys

    code = (
        "import sys; import webui.bootstrap, webui.ui.page, webui.api.routes; "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=WEBUI.parent, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
