"""What browsers are told of every answer, and which files are given away as what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.api.asgi import Echo, ask
from webui.api.guard import guarded
from webui.settings import Settings


def ask_for(path: str, settings: Settings, content: bytes = b"x", kind: str = "text/html"):
    return ask(guarded(Echo(content, kind), settings, lambda request: False), url=path)


def test_no_other_site_may_show_or_load_anything():
    answer = ask_for("/any", Settings())
    policy = answer.headers["content-security-policy"].split("; ")
    assert "frame-ancestors 'none'" in policy and "img-src 'self' data: blob:" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_refusal_tells_no_more_than_an_answer():
    app = guarded(Echo(), Settings(), lambda request: False)
    answer = ask(app, url="/thumbnails/star", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_flag_lets_a_site_show_the_app():
    settings = Settings(frame_ancestors=("https://my.example", "https://other.example"))
    policy = ask_for("/", settings).headers["content-security-policy"]
    assert "frame-ancestors https://my.example https://other.example" in policy.split("; ")


@pytest.mark.parametrize("route", ["/gradio_api/file=", "/file="])
def test_only_pictures_of_the_outputs_are_served(tmp_path: Path, route: str):
    settings = Settings(outputs_dir=tmp_path)
    shown = ask_for(f"{route}{tmp_path}/txt2img/a.png", settings, kind="image/png")
    assert shown.headers["content-type"] == "image/png"
    assert "sandbox" in shown.headers["content-security-policy"]
    for name in ("train/a/cat.html", "train/a/x.svg", "train/a/state.pt", ".cache/x.sqlite",
                 "../secret.png/../../secret.png", "txt2img/a.txt"):  # fmt: skip
        answer = ask_for(f"{route}{tmp_path}/{name}", settings)
        assert answer.status_code == 403, name


def test_what_is_no_picture_among_the_uploads_is_saved_and_never_shown(tmp_path: Path):
    settings = Settings(outputs_dir=tmp_path)
    answer = ask_for(f"/gradio_api/file={tmp_path}/.uploads/a/page.html", settings)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=http://127.0.0.1:1/a.png", "/gradio_api/proxy=https://x.hf.space/a.png",
     "/gradio_api/file/etc/passwd"],
)  # fmt: skip
def test_nothing_is_fetched_from_other_machines(path: str):
    assert ask_for(path, Settings()).status_code == 403


def test_uploads_that_were_broken_off_go_when_the_next_one_comes(tmp_path: Path):
    settings = Settings(outputs_dir=tmp_path)
    names = ("tmp-broken-off", "tmp-coming", "whole/picture.png")
    for name in names:
        path = settings.uploads_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        if name != "tmp-coming":
            os.utime(path, (1, 1))
    app = guarded(Echo(), settings, lambda request: False)
    assert ask(app, "POST", url="/gradio_api/upload", content=b"x").status_code == 200
    assert [(settings.uploads_dir / name).exists() for name in names] == [False, True, True]
