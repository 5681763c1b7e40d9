"""The page of a studio on empty folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from webui.settings import Settings
from webui.studio.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """An open studio that has loaded no model."""
    studio = Studio(
        Settings(
            models_dir=tmp_path / "models",
            embeddings_dirs=(tmp_path / "embeddings",),
            outputs_dir=tmp_path / "outputs",
            styles_file=tmp_path / "styles.csv",
        )
    )
    studio.open()
    yield studio
    studio.close()
