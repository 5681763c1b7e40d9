"""The page in another language than English, chosen by the browser or by its person."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ROOT, App
from tests.browser.test_accessibility import AXE, TABS, found
from webui.ui import languages

pytestmark = pytest.mark.browser

GERMAN = languages.read(languages.SHIPPED / "de.json")
HOLE = r"\{(?:n|text)?\}"
PATTERNS = [
    re.compile(".+".join(map(re.escape, re.split(HOLE, text))), re.DOTALL)
    for text in GERMAN.values()
    if re.search(HOLE, text)
]
NAMES = re.compile(
    r"Starter( \(128\))?|starter|[\w.]*diffusers( \.\w+)?|\.\w+|[\d,.]+ [kM]B|[0-9a-f]{12}|"
    r"[\d,.]+ [kM]B · [\d-]+( · starter)?|A red mushroom .*",
)
"""Of models, formats, files and hashes, and what stands in people's notes."""
SHOWN = """() => {
    const kept = "[translate=no], .notranslate, .names [role=listbox], .model-state strong, " +
        "textarea, script, style, code, pre";
    const attributes = ["title", "placeholder", "aria-label", "alt", "data-hint"], texts = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { data, parentElement } = walker.currentNode;
        if (!parentElement.closest(kept) && parentElement.checkVisibility()) texts.push(data);
    }
    for (const element of document.querySelectorAll("*")) {
        if (!element.checkVisibility() || element.parentElement?.closest(kept)) continue;
        texts.push(...attributes.map((name) => element.getAttribute(name) ?? ""));
    }
    return texts.map((text) => text.trim().replace(/\\s+/g, " "));
}"""


def is_german(text: str) -> bool:
    if not re.search(r"[^\W\d_]{2}", text) or NAMES.fullmatch(text) or text in GERMAN.values():
        return True
    parts = text.split(" · ")
    if len(parts) > 1:
        return all(map(is_german, parts))
    return any(pattern.fullmatch(text) for pattern in PATTERNS)


def other_texts(page: Page) -> set[str]:
    """Return what is seen on the page that is neither from the German table nor a name."""
    page.wait_for_timeout(300)
    return {text for text in page.evaluate(SHOWN) if not is_german(text)}


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=GERMAN.get(name, name), exact=True).click()


def test_a_german_browser_sees_german_everywhere_and_what_was_typed_stays(
    app: App, open_page: Callable[..., Page]
):
    for name in ("toadstool.safetensors", "toadstool.json", "toadstool.preview.png"):
        (app.embeddings / name).write_bytes((ROOT / "embeddings" / name).read_bytes())
    page = open_page(locale="de-DE")
    page.evaluate(AXE)
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("#model-state")).to_contain_text("Hash", timeout=600_000)
    for each in TABS:
        tab(page, each)
        assert (other_texts(page), found(page)) == (set(), []), each
        for closed in page.locator("button.label-wrap:visible").all():
            closed.click()
        assert other_texts(page) == set(), each
    page.locator("#train-tab-button").click()
    page.locator("#train-start").click()
    expect(page.locator("#train-ready")).to_contain_text("Bitte dem Embedding einen Namen geben")
    page.locator("#embeddings-tab-button").click()
    page.locator("#all-cards .card").first.click()
    page.locator("#details-head [data-side=negative]").click()
    expect(page.locator(".details-said")).to_have_text(
        "toadstool in den Negativ-Prompt geschrieben."
    )
    expect(page.locator("#details-form")).to_be_visible()
    for section in page.locator("#details-form [role=tab]").all():
        section.click()
        assert other_texts(page) == set()
    tab(page, "txt2img")
    page.locator("#prompt textarea").fill("Steps, a red circle, Delete")
    page.locator("#generate").click()
    expect(page.locator("#progress")).to_contain_text("Fertig: 1 gespeichert", timeout=600_000)
    expect(page.locator("#prompt textarea")).to_have_value("Steps, a red circle, Delete")
    assert other_texts(page) == set()
    (app.embeddings / "toadstool.safetensors").unlink()


def test_the_language_can_be_chosen_and_is_kept(open_page: Callable[..., Page]):
    page = open_page(locale="de-DE")
    generate, schedule = page.locator("#generate"), page.locator("#schedule-type input")
    expect(generate).to_have_text("Generieren")
    page.locator("#language select").select_option("fr")
    expect(generate).to_have_text("Générer")
    expect(page.locator("#open-get-model")).to_have_attribute("title", "Obtenir un modèle")
    for choice, value in (("Karras", "Karras"), ("Automatique", "Automatic")):
        schedule.click()
        page.get_by_role("option", name=choice, exact=True).click()
        expect(schedule).to_have_value(choice)
        assert schedule.evaluate("input => input.value") == value, "what Gradio reads"
    page.locator("#language select").select_option("en")
    expect(generate).to_have_text("Generate")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#open-get-model")).to_have_attribute("title", "Get a model")
    expect(page.locator("#negative-prompt textarea")).to_have_attribute(
        "placeholder", "What it should not show"
    )
    expect(schedule).to_have_value("Automatic")
    page.reload()
    expect(page.locator("#language select")).to_have_value("en")
    expect(generate).to_have_text("Generate")
