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


@pytest.fixture
def studio_without_model(tmp_path: Path) -> Iterator[Studio]:
    """An open studio on empty folders that has loaded no model."""
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
