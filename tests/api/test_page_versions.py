"""Whether a page is to fetch anything."""

from __future__ import annotations

from collections.abc import Sequence
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
    app.include_router(page_versions.routes(versions))
    return TestClient(app)


def test_a_page_is_told_the_versions_of_what_it_follows(client: TestClient):
    answer = client.post("/page-versions", json={"keys": ["a run"]})
    assert answer.json() == [7, ["a run", None]]


def test_a_page_of_another_version_of_the_app_is_told_to_reload(client: TestClient):
    answer = client.post("/page-versions", json={"keys": []})
    assert answer.status_code == 422 and "reload" in answer.json()["detail"]
