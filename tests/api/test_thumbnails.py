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
    for name in ("with image", "broken", "plain"):
        torch.save({"string_to_param": {"*": torch.randn(1, 768)}}, folder / f"{name}.pt")
    Image.new("RGB", (900, 600), "red").save(folder / "with image.preview.png")
    (folder / "broken.preview.png").write_bytes(b"no image")
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    library = EmbeddingLibrary((folder,), tmp_path / "index.sqlite")
    library.start()
    app = FastAPI()
    app.include_router(thumbnails.routes(Holder(library)))
    found = TestClient(app)
    found.library = library
    yield found
    library.stop()


def test_a_preview_is_served_small(client: TestClient, tmp_path: Path):
    key = str(tmp_path / "embeddings" / "with image.pt")
    answer = client.get("/thumbnails", params={"card": key})
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(answer.content)).size == (256, 171)


def test_each_file_of_a_name_has_its_own_picture(client: TestClient, tmp_path: Path):
    other = tmp_path / "embeddings" / "sub"
    other.mkdir()
    torch.save({"string_to_param": {"*": torch.randn(1, 768)}}, other / "with image.pt")
    Image.new("RGB", (20, 30), "blue").save(other / "with image.png")
    client.library.refresh()
    answer = client.get("/thumbnails", params={"card": str(other / "with image.pt")})
    assert Image.open(io.BytesIO(answer.content)).size == (20, 30)


@pytest.mark.parametrize(
    "name", ["plain.pt", "broken.pt", "unknown.pt", "../secret.png", "with image.preview.png"]
)
def test_anything_else_is_not_found(client: TestClient, tmp_path: Path, name: str):
    for key in (str(tmp_path / "embeddings" / name), name):
        assert client.get("/thumbnails", params={"card": key}).status_code == 404
