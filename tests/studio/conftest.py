"""A studio on folders of its own with the tiny random model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from webui.settings import Settings
from webui.studio.studio import Studio


@pytest.fixture
def settings(tmp_path: Path, tiny_checkpoint: Path) -> Settings:
    return Settings(
        models_dir=tiny_checkpoint,
        embeddings_dirs=(tmp_path / "embeddings",),
        outputs_dir=tmp_path / "outputs",
        styles_file=tmp_path / "styles.csv",
        device="cpu",
        precision="fp32",
    )


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    """An open studio with its model loaded."""
    studio = Studio(settings)
    studio.open()
    studio.models.switch()
    studio.models.get(60)
    yield studio
    studio.close()
