"""With --auth nothing but the login is to be had without the password."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import App

pytestmark = pytest.mark.browser


def status(url: str) -> int:
    try:
        return urllib.request.urlopen(url, timeout=90).status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_and_our_routes_ask_for_the_password(
    start_app: Callable[..., App], chromium: Browser
):
    app = start_app("--auth", "me:secret")
    for path in ("/thumbnails?card=any", "/config", "/gradio_api/info"):
        assert status(app.url + path) == 401, path
    context = chromium.new_context()
    page = context.new_page()
    page.goto(app.url)
    expect(page.get_by_label("username")).to_be_visible()
    page.get_by_label("username").fill("me")
    page.get_by_label("password").fill("wrong")
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_text("Incorrect Credentials")).to_be_visible()
    page.get_by_label("username").fill("me")
    page.get_by_label("password").fill("secret")
    page.get_by_role("button", name="Login").click()
    expect(page.locator("#generate")).to_be_visible(timeout=60_000)
    cookies = "; ".join(f"{c['name']}={c['value']}" for c in context.cookies())
    request = urllib.request.Request(f"{app.url}/thumbnails?card=any", headers={"Cookie": cookies})
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(request, timeout=90)
    assert answer.value.code == 404, "who is logged in hears that there is no such image"
    context.close()
