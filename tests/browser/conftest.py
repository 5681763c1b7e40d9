"""The real app in its own process, and headless Chromium looking at it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.parts import free_port

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
START_S = 240
LEAVING = "This page is being left."
ARGUMENTS = [
    "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
expect.set_options(timeout=90_000)


@dataclass
class App:
    """``python app.py`` running on folders of its own."""

    url: str
    embeddings: Path
    outputs: Path
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    """What the terminal says."""


@contextmanager
def apps(factory: pytest.TempPathFactory) -> Iterator[Callable[..., App]]:
    """Start the app as a person does, with the model that ships, and end it at the end."""
    running: list[App] = []

    def start(*flags: str, folder: Path | None = None) -> App:
        place = folder or factory.mktemp("app")
        port = free_port()
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port),
             "--embeddings-dir", str(place / "embeddings"),
             "--outputs-dir", str(place / "outputs"),
             "--styles-file", str(place / "styles.csv"), *flags],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        app = App(f"http://127.0.0.1:{port}", place / "embeddings", place / "outputs", process)
        running.append(app)
        threading.Thread(target=_collect, args=(process, app.lines), daemon=True).start()
        while not any("Running on" in line for line in app.lines):
            assert process.poll() is None, "the app ended:\n" + "".join(app.lines)
            assert time.monotonic() - begun < START_S, "not served:\n" + "".join(app.lines)
            time.sleep(0.05)
        return app

    try:
        yield start
    finally:
        for app in running:
            app.process.terminate()
        for app in running:
            app.process.wait(180)
            app.process.stdout.close()


@pytest.fixture
def start_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., App]]:
    """Start apps that end with the test."""
    with apps(tmp_path_factory) as start:
        yield start


def _collect(process: subprocess.Popen[str], lines: list[str]) -> None:
    for line in process.stdout:
        lines.append(line)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One app that the browser tests share."""
    with apps(tmp_path_factory) as start:
        yield start()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Headless Chromium of the system; tests are skipped without it, except in CI."""
    if not shutil.which(CHROMIUM):
        text = f"There is no Chromium at {CHROMIUM}; install it or set CHROMIUM."
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, app: App) -> Iterator[Callable[..., Page]]:
    """Open the app in a new window; afterwards nothing may have gone wrong in any of them.

    Errors of scripts, error messages in the console and requests to other machines count. The
    refusals that a test provokes are answered with 422, which the console reports; those are fine.
    So are the complaints of a page that is left in the middle of an answer.
    """
    problems: list[str] = []
    contexts = []

    def watch(page: Page) -> None:
        left: list[str] = []
        page.add_init_script(f"addEventListener('beforeunload', () => console.debug('{LEAVING}'))")

        def heard(said: ConsoleMessage) -> None:
            if said.text == LEAVING:
                left.append(said.text)
            elif said.type == "error" and not left:
                problems.append(f"{said.text} {said.location.get('url', '')}")

        page.on("pageerror", lambda error: problems.append(f"script: {error}"))
        page.on("console", heard)
        page.on("domcontentloaded", lambda _: left.clear())
        page.on(
            "request",
            lambda request: (
                None
                if re.match(r"http://127[.]0[.]0[.]1:|data:|blob:", request.url)
                else problems.append(f"request to {request.url}")
            ),
        )

    def open_one(
        query: str = "", width: int = 1440, height: int = 1000, of: App = app, **options
    ) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        watch(page)
        page.goto(f"{of.url}/{query}")
        page.wait_for_selector("#generate")
        return page

    yield open_one
    for context in contexts:
        context.close()
    problems = [text for text in problems if "422" not in text]
    assert not problems, "\n".join(problems)
