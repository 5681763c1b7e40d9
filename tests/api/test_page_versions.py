"""Whether a page is to fetch anything, and the tables of its texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from webui.api import page_versions


def versions(keys: Sequence[Any]) -> list[Any]:
    (key,) = keys
    return [7, [key, None]]


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(page_versions.routes(versions, {}))
    return TestClient(app)


def test_a_page_is_told_the_versions_of_what_it_follows(client: TestClient):
    answer = client.post("/page-versions", json={"keys": ["a run"]})
    assert answer.json() == [7, ["a run", None]]


def test_a_table_of_texts_is_served_to_be_kept_and_nothing_else_is(tmp_path: Path):
    table = tmp_path / "de.json"
    table.write_text('{"Train": "Trainieren"}', encoding="utf-8")
    app = FastAPI()
    app.include_router(page_versions.routes(versions, {"de": table}))
    client = TestClient(app)
    answer = client.get("/languages/de?17")
    assert answer.json() == {"Train": "Trainieren"}
    assert "immutable" in answer.headers["Cache-Control"]
    assert client.get("/languages/..%2Fde").status_code == 404
    assert client.get("/languages/it").status_code == 404


def test_a_page_of_another_version_of_the_app_is_told_to_reload(client: TestClient):
    answer = client.post("/page-versions", json={"keys": []})
    assert answer.status_code == 422 and "reload" in answer.json()["detail"]
