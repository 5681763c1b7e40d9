"""The project's own modules as syntax trees, for tests that walk over all of them."""

from __future__ import annotations

import ast
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def parsed(path: Path) -> ast.Module:
    """Return the tree of a module; Python 3.11 loses count if another thread parses meanwhile."""
    for _ in range(3):
        with suppress(SystemError):
            return ast.parse(path.read_text(encoding="utf-8"))
    raise AssertionError(f"{path} cannot be parsed")
