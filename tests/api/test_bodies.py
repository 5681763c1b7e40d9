"""What a request may send, and how long it may take."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message

from tests.api.asgi import Echo, ask
from tests.parts import in_a_loop
from webui.api.bodies import (
    LONGEST_PAUSE_S,
    MOST_BYTES,
    MOST_PICTURE_BYTES,
    MOST_UPLOADED_BYTES,
    Bodies,
    most_bytes,
)

MIB = 1 << 20


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/gradio_api/upload", MOST_UPLOADED_BYTES),
        ("/sdapi/v1/png-info", MOST_PICTURE_BYTES),
        ("/sdapi/v1/train/embedding", MOST_PICTURE_BYTES),
        ("/sdapi/v1/txt2img", MOST_BYTES),
        ("/gradio_api/queue/join", MOST_BYTES),
        ("/login", 4096),
    ],
)
def test_a_path_has_its_own_limit(path: str, most: int):
    assert most_bytes(path) == most


@pytest.mark.parametrize("told", [True, False])
def test_a_body_that_is_too_large_does_not_reach_the_app(told: bool):
    app = Echo()
    body = b" " * (MOST_BYTES + 1)
    pieces = (body[start : start + MIB] for start in range(0, len(body), MIB))

    async def stream():
        for piece in pieces:
            yield piece

    answer = ask(Bodies(app), "POST", "/any", content=body if told else stream())
    assert (answer.status_code, app.paths) == (413, [])


def test_an_upload_that_turns_out_too_large_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("webui.api.bodies.MOST_UPLOADED_BYTES", 100)

    async def stream():
        for _ in range(20):
            yield b" " * 10

    answer = ask(Bodies(Echo()), "POST", "/gradio_api/upload", content=stream())
    assert answer.status_code == 413


def test_an_upload_is_told_of_a_full_disk():
    guard = Bodies(Echo(), free_bytes=lambda: 20 << 20)
    assert ask(guard, "POST", "/gradio_api/upload", content=b" " * 1000).status_code == 200
    answer = ask(guard, "POST", "/gradio_api/upload", content=b" " * (5 << 20))
    assert answer.status_code == 507 and "The disk is full" in answer.text


@pytest.mark.parametrize("length", ["-1", "many", "9" * 5000])
def test_a_length_that_cannot_be_is_refused(length: str):
    answer = ask(Bodies(Echo()), "POST", "/any", headers={"Content-Length": length})
    assert answer.status_code == 413


def test_a_usual_body_arrives_as_it_was_sent():
    body = json.dumps({"prompt": 'a "red" star, \\(paint\\), {a|b}', "styles": ["x"]}).encode()
    answer = ask(Bodies(Echo()), "POST", "/any", content=body)
    assert answer.content == body


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 50 + b"]" * 50,
        b'{"a":' * 1000,
        b"[" + b"{}," * 1_000_000 + b"{}]",
        b"[" + b'"",' * 200_000 + b'""]',
        b'{"a":"' + b"\\n" * 1_500_000 + b'"}',
    ],
    ids=["deep", "deep and broken", "objects", "texts", "escapes"],
)
def test_a_body_of_too_much_is_refused(body: bytes):
    assert ask(Bodies(Echo()), "POST", "/any", content=body).status_code == 413


@pytest.mark.parametrize("path", ["/any", "/gradio_api/upload"])
def test_a_body_whose_rest_does_not_come_is_given_up(path: str):
    async def receive() -> Message:
        await asyncio.sleep(LONGEST_PAUSE_S)
        raise AssertionError

    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": [], "method": "POST"}
    in_a_loop(Bodies(Echo(), pause_s=0.05)(scope, receive, send))
    assert sent[0]["status"] == 408


def test_a_client_that_goes_away_is_no_error():
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/any", "headers": [], "method": "POST"}
    in_a_loop(Bodies(Echo())(scope, receive, send))
    assert sent == []
