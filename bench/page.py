"""How the page feels with few and with many embeddings installed, in real Chromium.

For each number of files the app is started on its own folders, and measured: from a click on the
Embeddings tab until its cards are painted, and from a key in their search until what is found is;
from a file's last byte until its card is in an open tab; from a key in the prompt until the browser
has painted, and until the line under the prompt says what was understood; from Ctrl+C with the page
open until the app has ended. The ratio to the smallest number is what counts: it should stay near
one. An app that takes longer than three seconds to end makes the bench fail.
Run: python bench/page.py
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from webui.embeddings import formats  # noqa: E402
from webui.embeddings.embedding import Embedding  # noqa: E402

CHANGES = 8
LONGEST_END_S = 3.0
TYPED = "a red heart next to name-7, (name-12:1.2) in a meadow"
SEARCHED = "name-12"
WATCH_KEYS = """box => {
    window.painted = [];
    document.querySelector(box).addEventListener("input", () => {
        const began = performance.now();
        const painted = () => window.painted.push(performance.now() - began);
        requestAnimationFrame(() => setTimeout(painted));
    });
}"""


def main() -> None:
    """Print one table row per number of files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--counts", type=int, nargs="+", default=[100, 1_000, 10_000])
    options.add_argument("--chromium", default="/usr/bin/chromium")
    chosen = options.parse_args()
    print(
        "| files | page with all cards | tab to cards | search, worst | file to card "
        "| key to paint | worst | key to X-ray | Ctrl+C to end |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    ends_s = []
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chosen.chromium, args=arguments)
        for count in chosen.counts:
            with tempfile.TemporaryDirectory() as folder:
                fill(Path(folder) / "embeddings", count)
                app, url = start_app(Path(folder))
                try:
                    print(row(browser.new_page(), url, Path(folder), count), end=" ")
                    began = time.perf_counter()
                    app.send_signal(signal.SIGINT)
                    app.wait(60)
                    ends_s.append(time.perf_counter() - began)
                    print(f"{ends_s[-1]:.1f} s |", flush=True)
                finally:
                    app.kill()
                    app.wait()
        browser.close()
    if max(ends_s) > LONGEST_END_S:
        raise SystemExit(f"The app took {max(ends_s):.1f} s to end.")


def fill(folder: Path, count: int) -> None:
    """Write ``count`` different small files for the starter model, in 10 folders."""
    for number in range(count):
        made = Embedding(f"name-{number}", {"clip_l": torch.randn(2, 128) * 0.04})
        place = folder / f"folder-{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        formats.write(made, place / f"{made.name}.pt", "a1111")


def start_app(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the app on its own folders; return it and its address once it is served."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    app = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--outputs-dir", str(folder / "outputs"),
         "--embeddings-dir", str(folder / "embeddings")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for line in app.stdout:
        if found := re.search(r"Running on (\S+)", line):
            # Thousands of names fill the pipe, and an app that nobody listens to stands still.
            threading.Thread(target=app.stdout.read, daemon=True).start()
            return app, found[1]
    raise SystemExit("The app did not start.")


def row(page: Page, url: str, folder: Path, count: int) -> str:
    """Measure what the page does; return a line of the table but for its last field."""
    began = time.perf_counter()
    page.goto(url)
    has_all = "count => (window.embeddingCards || []).length >= count"
    page.wait_for_function(has_all, arg=count, timeout=60_000)
    opened_s = time.perf_counter() - began
    page.wait_for_function(
        "document.querySelector('#model-state').innerText.includes('hash')", timeout=600_000
    )
    cards_ms, searches_ms = open_cards(page)
    visible_s = statistics.median(seconds_until_visible(page, folder, n) for n in range(CHANGES))
    paints_ms, understood_s = type_prompt(page)
    return (
        f"| {count:,} | {opened_s:.1f} s | {cards_ms:.0f} ms | {max(searches_ms):.0f} ms "
        f"| {visible_s:.2f} s "
        f"| {statistics.median(paints_ms):.0f} ms | {max(paints_ms):.0f} ms "
        f"| {understood_s:.2f} s |"
    )


def open_cards(page: Page) -> tuple[float, list[float]]:
    """Open the Embeddings tab, search there, and go back; return the milliseconds until its cards
    were painted, and from each key of the search until what is found was."""
    cards_ms = page.evaluate(
        """() => new Promise(done => {
            const began = performance.now();
            document.querySelectorAll("[role=tab]")[1].click();
            const look = () => document.querySelector("#all-cards .card")
                ? requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)))
                : setTimeout(look, 1);
            look();
        })"""
    )
    page.evaluate(WATCH_KEYS, "#all-cards .cards-search")
    page.locator("#all-cards .cards-search").press_sequentially(SEARCHED, delay=60)
    searches_ms = page.evaluate("window.painted")
    page.get_by_role("tab", name="txt2img").click()
    return cards_ms, searches_ms


def seconds_until_visible(page: Page, folder: Path, number: int) -> float:
    """Copy a file in and wait for its card in the open page."""
    name = f"fresh-{number}"
    source = folder / f"{name}.pt"
    formats.write(Embedding(name, {"clip_l": torch.randn(2, 128) * 0.04}), source, "a1111")
    time.sleep(0.37 * number % 1)  # at no fixed place between two questions of the page
    shutil.copyfile(source, folder / "embeddings" / source.name)
    began = time.perf_counter()
    there = "name => (window.embeddingCards || []).some(item => item.name === name)"
    page.wait_for_function(there, arg=name, polling=20)
    return time.perf_counter() - began


def type_prompt(page: Page) -> tuple[list[float], float]:
    """Type a prompt; return the milliseconds from each key to its painting, and from the last key
    until the prompt was understood in seconds."""
    page.evaluate(WATCH_KEYS, "#prompt textarea")
    page.locator("#prompt textarea").click()
    page.keyboard.type(TYPED, delay=60)
    began = time.perf_counter()
    page.locator(".xray .chip", has_text="name-12").first.wait_for()
    understood_s = time.perf_counter() - began
    return page.evaluate("window.painted"), understood_s


if __name__ == "__main__":
    main()
