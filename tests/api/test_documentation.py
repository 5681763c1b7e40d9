"""The API's description is complete, has examples that work, and needs no other site."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Served

ROUTES = {
    ("post", "txt2img"), ("get", "embeddings"), ("post", "refresh-embeddings"),
    ("post", "create/embedding"), ("post", "train/embedding"), ("post", "train/suggest"),
    ("get", "train/embedding/{run_id}"), ("post", "train/embedding/{run_id}/interrupt"),
    ("get", "train/runs"), ("delete", "train/embedding/{run_id}"),
    *(("post", f"train/embedding/{{run_id}}/{verb}")
      for verb in ("pause", "resume", "install", "restore")),
    ("get", "progress"), ("post", "interrupt"), ("post", "skip"), ("post", "png-info"),
    ("get", "samplers"), ("get", "schedulers"), ("get", "sd-models"), ("get", "sd-vae"),
    ("get", "options"), ("post", "options"), ("get", "prompt-styles"), ("get", "loras"),
    ("get", "memory"), ("get", "cmd-flags"), ("get", "extensions"), ("get", "face-restorers"),
    ("get", "hypernetworks"), ("get", "latent-upscale-modes"), ("get", "realesrgan-models"),
    ("get", "script-info"), ("get", "scripts"), ("get", "upscalers"),
    *(("post", f"refresh-{kind}") for kind in ("checkpoints", "loras", "vae")),
    ("post", "extra-single-image"), ("post", "extra-batch-images"),
    ("post", "unload-checkpoint"), ("post", "reload-checkpoint"),
}  # fmt: skip


@pytest.fixture
def described(served: Served) -> dict:
    return httpx.get(f"{served.url}/openapi.json", timeout=180).json()


def test_exactly_these_routes_are_public(described: dict):
    found = {
        (method, path.removeprefix("/sdapi/v1/"))
        for path, methods in described["paths"].items()
        for method in methods
    }
    assert found == ROUTES


def test_every_body_has_an_example(described: dict):
    for path, methods in described["paths"].items():
        body = methods.get("post", {}).get("requestBody")
        if body is None:
            continue
        media = body["content"]["application/json"]
        name = media["schema"].get("$ref", "").rpartition("/")[2]
        schema = described["components"]["schemas"].get(name, media["schema"])
        assert schema.get("examples") or media.get("examples"), path


def test_the_example_of_txt2img_draws(client: httpx.Client, described: dict):
    [example] = described["components"]["schemas"]["Txt2ImgRequest"]["examples"]
    assert client.post("/txt2img", json=example | {"steps": 1}).status_code == 200


def test_the_page_is_made_of_our_own_files_alone(served: Served):
    page = httpx.get(f"{served.url}/docs", timeout=180)
    assert (
        page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]
    )
    for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert not name.startswith(("http", "//")), name
        assert httpx.get(f"{served.url}/{name}").status_code == 200, name
    assert httpx.get(f"{served.url}/docs/..%2Froutes.py").status_code == 404


def test_the_documentation_names_every_route():
    text = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    for _, path in ROUTES:
        assert path.partition("/{")[0] in text, path
