"""What a page of another site can do to the app in a real browser: nothing but link to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import App

pytestmark = pytest.mark.browser

TRY = """async (app) => {
  const reached = async (url, options) => {
    try { return (await fetch(url, options)).type; } catch { return "refused"; }
  };
  const shown = (element, attribute, url) => new Promise((resolve) => {
    element.onload = () => resolve(true);
    element.onerror = () => resolve(false);
    element[attribute] = url;
    document.body.append(element);
  });
  const json = { "Content-Type": "application/json", "X-Forwarded-Host": location.host };
  return {
    read: await reached(`${app}/sdapi/v1/options`),
    post: await reached(`${app}/sdapi/v1/interrupt`, { method: "POST", headers: json, body: "{}" }),
    plain: await reached(`${app}/sdapi/v1/options`, { method: "POST", body: "{}" }),
    thumbnail: await shown(new Image(), "src", `${app}/thumbnails/toadstool`),
    script: await shown(document.createElement("script"), "src", `${app}/docs/docs.js`),
  };
}"""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """A site on another port of this machine."""

    class Blank(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body></body>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Blank)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_it_can_neither_read_nor_send_nor_see(app: App, page: Page, elsewhere: str, name: str):
    shipped = Path(__file__).resolve().parents[2] / "embeddings"
    for part in shipped.glob("toadstool.*"):
        (app.embeddings / part.name).write_bytes(part.read_bytes())
    page.goto(elsewhere)
    found = page.evaluate(TRY, app.url.replace("127.0.0.1", name))
    assert found.pop("plain") in ("refused", "opaque")
    assert found == {"read": "refused", "post": "refused", "thumbnail": False, "script": False}


def test_it_cannot_show_the_app_in_a_frame(app: App, page: Page, elsewhere: str):
    page.goto(elsewhere)
    page.evaluate(
        "(app) => { const f = document.createElement('iframe'); f.src = app; "
        "document.body.append(f); }",
        app.url,
    )
    page.wait_for_timeout(1500)
    assert not any(frame.locator("#generate").count() for frame in page.frames)


def test_markup_in_the_page_asks_no_other_machine(app: App, page: Page, elsewhere: str):
    """Whoever gets a file's name into a message of Gradio's own as markup learns nothing by it."""
    page.goto(app.url)
    asked: list[str] = []
    page.on("requestfinished", lambda request: asked.append(request.url))
    blocked = page.evaluate(
        """(url) => new Promise((resolve) => {
          addEventListener("securitypolicyviolation", (e) => resolve(e.effectiveDirective));
          document.body.insertAdjacentHTML("beforeend", `<img src="${url}/a.png">`);
        })""",
        elsewhere,
    )
    assert blocked == "img-src" and not any(elsewhere in url for url in asked)


def test_a_link_from_there_opens_the_app(app: App, page: Page, elsewhere: str):
    page.goto(elsewhere)
    page.evaluate(
        "(app) => { const a = document.createElement('a'); a.href = app; a.textContent = 'go'; "
        "document.body.append(a); }",
        app.url,
    )
    page.get_by_text("go").click()
    expect(page.locator("#generate")).to_be_visible(timeout=90_000)
