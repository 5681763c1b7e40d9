"""CivitAI is asked by hashes, once a press, and what it says lies beside the files."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.embeddings.embedding_parts import put
from tests.parts import wait_until
from webui.embeddings.library import EmbeddingLibrary
from webui.studio.civitai import BY_HASH, MOST_HASHES, CivitaiLookup


class Site:
    """A server that answers like CivitAI about the files it knows."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        """Versions of models by the SHA-256 of their file."""
        self.asked: list[list[str]] = []
        self.status, self.answer = 200, b""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == BY_HASH
                site.asked.append(json.loads(body))
                found = [site.known[digest] for digest in site.asked[-1] if digest in site.known]
                self.say(site.status, site.answer or json.dumps(found).encode())

            def do_GET(self) -> None:
                buffer = io.BytesIO()
                Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
                self.say(200, buffer.getvalue())

            def say(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def knows(self, path: Path, **more: Any) -> None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest().upper()
        self.known[digest] = {
            "id": 9208,
            "modelId": 7808,
            "name": "v1",
            "model": {"name": "Easy", "type": "TextualInversion"},
            "trainedWords": ["easy"],
            "baseModel": "SD 1.5",
            "files": [{"hashes": {"SHA256": digest.lower()}}],
            **more,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def library(tmp_path: Path) -> Iterator[EmbeddingLibrary]:
    library = EmbeddingLibrary([tmp_path / "embeddings"], tmp_path / "index.sqlite")
    put(tmp_path / "embeddings" / "easy.pt")
    put(tmp_path / "embeddings" / "own.pt", seed=1)
    library.start()
    yield library
    library.stop()


def looked_up(lookup: CivitaiLookup) -> None:
    lookup.start()
    wait_until(lambda: not lookup.state.running)


def test_what_it_says_becomes_a_sidecar_and_is_not_asked_again(
    site: Site, library: EmbeddingLibrary
):
    easy = library.card("easy")
    site.knows(easy.path, images=[
        {"url": f"{site.url}/naked.png", "nsfwLevel": 8},
        {"url": "https://elsewhere.example/a.png", "nsfwLevel": 1},
        {"url": f"{site.url}/cat.png", "nsfwLevel": 1},
    ])  # fmt: skip
    lookup = CivitaiLookup(library, site.url)
    assert site.asked == [], "nothing is asked before someone presses"
    looked_up(lookup)
    assert (lookup.state.found, lookup.state.total, lookup.state.problem) == (1, 2, None)
    assert len(site.asked) == 1 and len(site.asked[0]) == 2
    easy = library.card("easy")
    said = easy.notes.published
    assert (said.name, said.words, said.base_model) == ("Easy v1", ("easy",), "SD 1.5")
    assert said.link == "https://civitai.com/models/7808?modelVersionId=9208"
    assert easy.preview.name == "easy.preview.png"
    assert json.loads(easy.path.with_name("easy.civitai.info").read_text())["id"] == 9208
    looked_up(lookup)
    assert len(site.asked[1]) == 1 and lookup.state.found == 0


def test_many_are_asked_about_in_batches(
    site: Site, library: EmbeddingLibrary, monkeypatch: pytest.MonkeyPatch
):
    assert MOST_HASHES == 100
    monkeypatch.setattr("webui.studio.civitai.MOST_HASHES", 1)
    looked_up(CivitaiLookup(library, site.url))
    assert [len(hashes) for hashes in site.asked] == [1, 1]


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [(503, b"busy", "(503)"), (200, b"<html>", "could not be read"), (200, b'{"a": 1}', None),
     (200, b'[1, {"files": [{"hashes": 1}]}, {"files": 2}]', None)],
)  # fmt: skip
def test_an_answer_that_is_none_is_said_in_words(
    site: Site, library: EmbeddingLibrary, status: int, answer: bytes, said: str | None
):
    site.status, site.answer = status, answer
    lookup = CivitaiLookup(library, site.url)
    looked_up(lookup)
    assert lookup.state.found == 0
    assert lookup.state.problem is None if said is None else said in lookup.state.problem


def test_without_a_network_it_says_so(library: EmbeddingLibrary):
    lookup = CivitaiLookup(library, "http://127.0.0.1:9")
    looked_up(lookup)
    assert "cannot be reached" in lookup.state.problem
