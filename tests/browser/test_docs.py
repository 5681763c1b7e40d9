"""The page /docs draws itself from openapi.json, without any other site, and sends examples."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import App

pytestmark = pytest.mark.browser


def test_an_example_can_be_sent_and_its_picture_seen(chromium: Browser, app: App):
    page = chromium.new_page(viewport={"width": 1100, "height": 1000})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((app.url, "data:")) else problems.append(request.url)
        ),
    )
    page.goto(f"{app.url}/docs")
    section = page.locator("details", has_text="Draw images of a prompt")
    section.locator("summary").click()
    expect(section.get_by_role("cell", name="negative_prompt", exact=True)).to_be_visible()
    section.get_by_role("button", name="Send").click()
    expect(section.get_by_text("Status 200")).to_be_visible(timeout=600_000)
    picture = section.get_by_role("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 256
    body = section.get_by_role("textbox", name=re.compile("Body"))
    body.fill('{"prompt": "<b>star</b>", "steps": 900}')
    expect(section.get_by_text("curl -X POST")).to_contain_text("900")
    page.close()
    assert not problems, "\n".join(problems)
