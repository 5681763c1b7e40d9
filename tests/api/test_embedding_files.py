"""Embeddings are downloaded one by one or packed, and no other file is."""

from __future__ import annotations

import io
import zipfile

import httpx
import torch

from tests.api.conftest import Served
from webui.embeddings import formats
from webui.embeddings.embedding import Embedding


def packed(served: Served, **chosen: object) -> httpx.Response:
    return httpx.post(f"{served.url}/embedding-archives", json=chosen, timeout=180, verify=False)


def test_many_are_packed_as_they_are_or_in_one_format(served: Served):
    folder = served.embeddings / "packed"
    folder.mkdir(parents=True)
    for name in ("first", "second"):
        made = Embedding(name, {"clip_l": torch.ones(1, 768)})
        formats.write(made, folder / f"{name}.safetensors", "safetensors")
    (folder / "first.json").write_text('{"notes": "kept"}')
    (folder / "broken.pt").write_text("no embedding")
    served.studio.library.refresh()
    keys = [str(folder / name) for name in ("first.safetensors", "second.safetensors", "broken.pt")]

    answer = packed(served, cards=keys)
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert answer.headers["X-Left-Out"] == "0"
    assert sorted(names) == [
        "packed/broken.pt", "packed/first.json", "packed/first.safetensors",
        "packed/second.safetensors",
    ]  # fmt: skip

    answer = packed(served, cards=[*keys, "/etc/passwd"], **{"as": "a1111"})
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == ["packed/first.pt", "packed/second.pt", "left-out.txt"]
    assert answer.headers["X-Left-Out"] == "2"
    assert "broken" in archive.read("left-out.txt").decode()


def test_what_is_no_wish_is_refused(served: Served):
    for chosen in ({}, {"cards": []}, {"cards": ["x"], "as": "exe"}, {"cards": ["x"], "more": 1}):
        assert packed(served, **chosen).status_code == 422
