"""A small server that answers like Hugging Face, about folders on the disk."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 10_000
"""Files from this size on are told with their SHA-256."""


@dataclass
class Hub:
    """What the server has, what goes wrong with it, and what it was asked."""

    folder: Path
    """Models, as ``owner/name/…``."""
    url: str = ""
    gated: set[str] = field(default_factory=set)
    breaks_at: dict[str, int] = field(default_factory=dict)
    """Files that are cut off once after so many bytes."""
    stalls_at: dict[str, int] = field(default_factory=dict)
    """Files of which, after so many bytes, nothing more comes until ``goes_on`` is set."""
    goes_on: threading.Event = field(default_factory=threading.Event)
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that are told in place of the real ones."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Files that were fetched, each with the range asked for."""

    def about(self, repo_id: str) -> dict[str, object]:
        """Return what the server tells about a model."""
        siblings = []
        for path in sorted((self.folder / repo_id).rglob("*")):
            if path.is_file():
                name = path.relative_to(self.folder / repo_id).as_posix()
                size = self.sizes.get(name, path.stat().st_size)
                item: dict[str, object] = {"rfilename": name, "size": size}
                if size >= LARGE:
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    item["lfs"] = {"sha256": digest, "size": size, "pointerSize": 134}
                siblings.append(item)
        return {
            "id": repo_id,
            "sha": COMMIT,
            "siblings": siblings,
            "pipeline_tag": "text-to-image",
            "private": False,
            "disabled": False,
            "gated": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
        }


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """Serve a folder of models while the ``with`` block runs."""
    hub = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/\w+)?", path):
                self.tell(found[1])
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path):
                self.send(found[1], found[2])
            else:
                self.refuse(404, "EntryNotFound")

        def tell(self, repo_id: str) -> None:
            if not (hub.folder / repo_id).is_dir():
                self.refuse(401, "RepoNotFound")
                return
            self.answer(200, json.dumps(hub.about(repo_id)).encode(), {})

        def send(self, repo_id: str, name: str) -> None:
            if repo_id in hub.gated:
                self.refuse(403, "GatedRepo")
                return
            content = (hub.folder / repo_id / name).read_bytes()
            wanted = self.headers.get("Range")
            hub.asked.append((name, wanted))
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
            headers = {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT}
            if wanted:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206 if wanted else 200, content[start:], headers, name)

        def refuse(self, status: int, code: str) -> None:
            self.answer(status, b"{}", {"X-Error-Code": code})

        def answer(self, status: int, body: bytes, headers: dict[str, str], name: str = "") -> None:
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if (cut := hub.breaks_at.pop(name, None)) is not None:
                self.wfile.write(body[:cut])
                self.close_connection = True
                return
            if (cut := hub.stalls_at.pop(name, None)) is not None:
                self.wfile.write(body[:cut])
                self.wfile.flush()
                hub.goes_on.wait(30)
                body = body[cut:]
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.goes_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
