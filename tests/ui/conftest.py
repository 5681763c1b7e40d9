"""The page of a studio on empty folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import studio_without_model
from webui.studio.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """An open studio that has loaded no model."""
    with studio_without_model(tmp_path) as opened:
        yield opened
