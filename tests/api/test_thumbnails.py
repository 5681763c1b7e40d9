"""Pictures of embeddings are served small, and nothing else is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from webui.api import thumbnails
from webui.embeddings.library import EmbeddingLibrary


class Holder:
    """The part of a studio that the route uses."""

    def __init__(self, library: EmbeddingLibrary) -> None:
        self.library = library


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    folder = tmp_path / "embeddings"
    folder.mkdir()
    for name in ("with picture", "broken", "plain"):
        torch.save({"string_to_param": {"*": torch.randn(1, 768)}}, folder / f"{name}.pt")
    Image.new("RGB", (900, 600), "red").save(folder / "with picture.preview.png")
    (folder / "broken.preview.png").write_bytes(b"no picture")
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    library = EmbeddingLibrary((folder,), tmp_path / "index.sqlite")
    library.start()
    app = FastAPI()
    app.include_router(thumbnails.routes(Holder(library)))
    yield TestClient(app)
    library.stop()


def test_a_preview_is_served_small(client: TestClient):
    answer = client.get("/thumbnails/with%20picture")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(answer.content)).size == (256, 171)


@pytest.mark.parametrize("name", ["plain", "broken", "unknown", "../secret", "..%2Fsecret.png"])
def test_anything_else_is_not_found(client: TestClient, name: str):
    assert client.get(f"/thumbnails/{name}").status_code == 404
