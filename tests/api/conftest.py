"""The app as it is served, with a tiny random checkpoint, and clients of its API."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import httpx
import pytest
from PIL import Image

from tests.conftest import write_tiny_checkpoint
from tests.parts import free_port
from webui.bootstrap import launch
from webui.settings import Settings
from webui.studio.studio import Studio


@dataclass
class Served:
    """The app on folders of its own."""

    url: str
    studio: Studio
    outputs: Path
    embeddings: Path


def serve(settings: Settings) -> Iterator[Served]:
    """Serve the app with its model loaded, and end it afterwards."""
    # pytest rewrites what anyio imports late, and Python 3.11 may refuse that in a server's thread.
    anyio.open_file  # noqa: B018
    studio, demo, url = launch(replace(settings, port=free_port()))
    studio.models.get(60)
    yield Served(url.rstrip("/"), studio, settings.outputs_dir, settings.embeddings_dirs[0])
    demo.close()
    studio.close()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Settings:
    place = tmp_path_factory.mktemp("served")
    shutil.copytree(tiny_checkpoint, place / "models")
    write_tiny_checkpoint(place / "models" / "zebra", seed=1)
    (place / "models" / "zz-broken.safetensors").write_bytes(b"broken")
    (place / "models" / "vae").mkdir()
    shutil.copyfile(
        place / "models" / "zebra" / "vae" / "diffusion_pytorch_model.safetensors",
        place / "models" / "vae" / "soft.safetensors",
    )
    return Settings(
        models_dir=place / "models",
        embeddings_dirs=(place / "embeddings",),
        outputs_dir=place / "outputs",
        styles_file=place / "styles.csv",
        templates_dir=place / "textual_inversion_templates",
        device="cpu",
        precision="fp32",
    )


@pytest.fixture(scope="session")
def served(settings: Settings) -> Iterator[Served]:
    yield from serve(settings)


@pytest.fixture(scope="session")
def client(served: Served) -> Iterator[httpx.Client]:
    """A client like plain requests."""
    with httpx.Client(base_url=f"{served.url}/sdapi/v1", timeout=180) as client:
        yield client


def picture_text(size: tuple[int, int] = (96, 80)) -> str:
    """Return a small noisy PNG as base64."""
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def opened(text: str) -> Image.Image:
    """Return the picture of a base64 text."""
    return Image.open(io.BytesIO(base64.b64decode(text)))
