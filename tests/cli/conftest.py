"""Pictures in a folder, and the flags that keep a command inside the test's own folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of three pictures and one file that is none."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(3):
        Image.effect_noise((96, 96), 20 + 30 * number).convert("RGB").save(folder / f"{number}.png")
    (folder / "notes.md").write_text("not an image")
    return folder


@pytest.fixture
def place(tmp_path: Path, tiny_checkpoint: Path) -> list[str]:
    """Flags for the tiny model and folders of the test."""
    return [
        "--models-dir", str(tiny_checkpoint), "--embeddings-dir", str(tmp_path / "e"),
        "--outputs-dir", str(tmp_path / "o"), "--device", "cpu",
    ]  # fmt: skip
