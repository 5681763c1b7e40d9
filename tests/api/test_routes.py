"""Who may use the API, from where, and which files the server gives away."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.api.conftest import Served, serve
from tests.parts import wait_until
from webui.api.connections import PatientProtocol
from webui.generation.outputs import save_picture
from webui.settings import Settings

PATIENCE_S = 60
"""A machine with other work may take long to answer at first."""
get, post, request = (
    # There is no TLS here, and reading the certificates for it takes longer than the answer.
    partial(call, timeout=PATIENCE_S, verify=False)
    for call in (httpx.get, httpx.post, httpx.request)
)
LOGIN = ("me", "se:cret ü")
PATHS = ("/sdapi/v1/embeddings", "/sdapi/v1/no-such-thing", "/docs", "/docs/docs.js",
         "/openapi.json", "/thumbnails?card=any")  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Served]:
    """The app behind a login."""
    place = tmp_path_factory.mktemp("guarded")
    settings = Settings(
        models_dir=tiny_checkpoint,
        embeddings_dirs=(place / "embeddings",),
        outputs_dir=place / "outputs",
        styles_file=place / "styles.csv",
        device="cpu",
        auth=LOGIN,
    )
    yield from serve(replace(settings, precision="fp32"))


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_to_be_had_without_the_login(guarded: Served, path: str):
    answer = get(guarded.url + path)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Basic"


@pytest.mark.parametrize("header", ["Basic", "Basic bWU6d3Jvbmc="])
def test_a_wrong_login_is_refused(guarded: Served, header: str):
    answer = get(guarded.url + PATHS[0], headers={"Authorization": header})
    assert answer.status_code == 401


def test_the_login_goes_as_http_basic(guarded: Served):
    auth = httpx.BasicAuth(LOGIN[0], LOGIN[1].encode())
    assert get(guarded.url + PATHS[0], auth=auth).status_code == 200
    assert get(guarded.url + "/docs", auth=auth).status_code == 200


def test_who_is_logged_in_on_the_page_may_use_the_api(guarded: Served):
    with httpx.Client(base_url=guarded.url, timeout=PATIENCE_S) as client:
        login = {"username": LOGIN[0], "password": LOGIN[1]}
        assert client.post("/login", data=login).status_code == 200
        assert client.get(PATHS[0]).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
@pytest.mark.parametrize("path", ["/sdapi/v1/interrupt", "/gradio_api/upload", "/docs"])
def test_other_sites_are_turned_away(served: Served, origin: str, path: str):
    for method in ("GET", "POST"):
        answer = request(method, served.url + path, headers={"Origin": origin})
        assert answer.status_code == 403 and answer.json()["error"] == "ForeignOrigin"


def test_the_pages_own_requests_are_not_turned_away(served: Served):
    answer = post(served.url + "/sdapi/v1/interrupt", headers={"Origin": served.url})
    assert answer.status_code == 200


def test_the_guard_stands_before_gradios_answers_about_other_origins(served: Served):
    asking = {"Origin": "http://localhost:1", "Access-Control-Request-Method": "POST"}
    answer = request("OPTIONS", served.url + "/sdapi/v1/interrupt", headers=asking)
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


def test_a_body_is_not_read_before_the_login(guarded: Served):
    with socket.create_connection(("127.0.0.1", port_of(guarded))) as half:
        half.sendall(
            b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 60000000\r\n\r\n{},"
        )
        half.settimeout(PATIENCE_S)
        assert half.recv(100).startswith(b"HTTP/1.1 401")


def test_half_a_request_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PatientProtocol, "longest_head_s", 0.2)
    soon = property(lambda _: 0.2, lambda *_: None)  # uvicorn's own clock, after an answer
    monkeypatch.setattr(PatientProtocol, "timeout_keep_alive", soon, raising=False)
    for begun in (
        b"",
        b"GET / HTTP/1.1\r\nHost: lo",
        b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\nG",
    ):
        with socket.create_connection(("127.0.0.1", port_of(served))) as half:
            half.settimeout(PATIENCE_S)
            half.sendall(begun)
            while half.recv(65536):
                pass
    assert get(served.url + "/docs").status_code == 200


def port_of(app: Served) -> int:
    return int(app.url.rpartition(":")[2])


def test_another_name_of_this_machine_is_turned_away(served: Served):
    answer = get(served.url + PATHS[0], headers={"Host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{outputs}/../embeddings/secret.txt",
        "{outputs}/.cache/embeddings.sqlite",
        "{outputs}/txt2img/../../embeddings/secret.txt",
        "{outputs}/txt2img/link",
        "{root}/app.py",
    ],
)
def test_files_outside_the_pictures_are_not_served(served: Served, path: str):
    (served.embeddings / "secret.txt").write_text("secret")
    link = served.outputs / "txt2img" / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(served.embeddings / "secret.txt")
    root = Path(__file__).resolve().parents[2]
    place = path.format(outputs=served.outputs, root=root)
    for address in (f"/gradio_api/file={place}", f"/file={place}", f"/thumbnails?card={place}"):
        answer = get(served.url + address)
        assert answer.status_code in (400, 403, 404), (address, answer.text[:200])


def test_an_event_of_the_page_reads_no_files_but_pictures_of_ours(served: Served):
    config = get(served.url + "/config").json()
    picture = next(
        one["id"] for one in config["components"]
        if one["props"].get("elem_id") == "png-info-picture"
    )  # fmt: skip
    event = next(one["id"] for one in config["dependencies"] if one["inputs"] == [picture])

    def read(path: Path) -> httpx.Response:
        given = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        body = {"data": [given], "fn_index": event, "session_hash": "x"}
        return post(served.url + "/gradio_api/run/predict", json=body)

    image = Image.new("RGB", (8, 8))
    ours = save_picture(image, "what is inside", served.outputs / "txt2img")
    assert "what is inside" in read(ours).text
    for place in (served.outputs / ".cache", served.outputs / "..", served.embeddings):
        answer = read(save_picture(image, "what is inside", place, "secret"))
        assert answer.status_code >= 400 and "what is inside" not in answer.text, place


def test_what_is_left_of_a_broken_off_upload_is_swept_away(served: Served):
    uploads = served.studio.settings.uploads_dir

    def unfinished() -> list[Path]:
        return [path for path in uploads.iterdir() if path.is_file()]

    with socket.create_connection(("127.0.0.1", port_of(served))) as half:
        half.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000000\r\n\r\n"
            b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
            + bytes(300_000)
        )
        wait_until(lambda: bool(unfinished()), PATIENCE_S)

    def swept() -> bool:
        for path in unfinished():
            os.utime(path, (1, 1))  # what has come last may still be written
        whole = {"files": ("b.png", b"x")}
        (place,) = post(served.url + "/gradio_api/upload", files=whole).json()
        return Path(place).read_bytes() == b"x" and not unfinished()

    wait_until(swept, PATIENCE_S)
