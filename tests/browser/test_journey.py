"""What a newcomer does, from the command to an embedding of their own, in one sitting."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect

from starter.concepts import OBJECTS, training_pictures
from tests.browser.conftest import App
from webui.generation.metadata.infotext import embedding_hashes, read_infotext
from webui.generation.outputs import read_parameters

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAWN_S = 300
TRAINED_MS = 900_000


def pictures(app: App) -> list[Path]:
    return sorted((app.outputs / "txt2img").rglob("*.png"))


def generate(page: Page, app: App, prompt: str | None = None, **fields: object) -> Path:
    """Fill in the form, press Generate and return the picture that comes."""
    before = set(pictures(app))
    if prompt is not None:
        page.locator("#prompt textarea").fill(prompt)
    for field, value in fields.items():
        box = page.locator(f"#{field.replace('_', '-')} input")
        box.fill(str(value))
        box.press("Tab")
    page.locator("#generate").click()
    end = time.monotonic() + DRAWN_S
    while not (new := set(pictures(app)) - before):
        assert time.monotonic() < end, page.locator("#progress").inner_text()
        page.wait_for_timeout(100)
    expect(page.locator("#progress")).to_contain_text("Done")
    expect(page.locator("#gallery img").first).to_be_visible()
    (picture,) = new
    return picture


def border_colour(path: Path) -> np.ndarray:
    """The median colour of a picture's rim, where the background is."""
    rgb = np.asarray(Image.open(path).convert("RGB"), dtype=float)
    rim = np.concatenate([rgb[:8].reshape(-1, 3), rgb[-8:].reshape(-1, 3)])
    return np.median(rim, axis=0)


def object_colour(path: Path) -> np.ndarray:
    """The median colour of whatever differs from the background."""
    rgb = np.asarray(Image.open(path).convert("RGB"), dtype=float)
    away = np.abs(rgb - border_colour(path)).max(axis=2) > 60
    assert away.mean() > 0.02, "there is nothing but background"
    return np.median(rgb[away], axis=0)


def write_embedding(path: Path, seed: int = 0, count: int = 2) -> None:
    """Write an AUTOMATIC1111 file with small random vectors for the starter model."""
    vectors = torch.randn(count, 128, generator=torch.Generator().manual_seed(seed)) * 0.04
    torch.save({"string_to_param": {"*": vectors}, "name": "inner", "step": 7}, path)


def card(page: Page, grid: str, name: str):
    return page.locator(f'#{grid} .card:has(.card-name:text-is("{name}"))')


def test_a_newcomer_generates_uses_an_embedding_and_trains_one(
    app: App, open_page: Callable[..., Page]
):
    # The command: served soon, in the words that people know.
    said = "".join(app.lines)
    assert re.search(r"Loaded a total of \d+ textual inversion embeddings\.", said)
    assert "Embeddings: " in said and f"Running on {app.url}" in said

    page, other = open_page(), open_page()
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)

    # The first picture is one click away.
    page.locator(".examples button").first.click()
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("Steps: "))

    # A picture that shows what the prompt says, saved with its parameters.
    blue = generate(page, app, "a red circle on a blue background", seed=3)
    red, _, blueness = border_colour(blue)
    assert blueness > red + 40, "the background is not blue"
    red, _, blueness = object_colour(blue)
    assert red > blueness + 40, "the circle is not red"
    request, _ = read_infotext(read_parameters(blue))
    assert (request.prompt, request.seed) == ("a red circle on a blue background", 3)
    expect(page.locator("#infotext textarea")).to_have_value(re.compile("Steps: .*Seed: 3,"))

    # A file dropped into the folder is a card in every tab, without a reload.
    for tab in (page, other):
        tab.get_by_role("tab", name="Textual Inversion").click()
    write_embedding(app.embeddings / "marc_allante.pt")
    for tab in (page, other):
        expect(card(tab, "prompt-cards", "marc_allante")).to_be_visible(timeout=30_000)

    # A click puts the name at the caret of the prompt that had the focus last.
    prompt, negative = page.locator("#prompt textarea"), page.locator("#negative-prompt textarea")
    prompt.fill("a red circle, on a blue background")
    prompt.evaluate("box => { box.focus(); box.setSelectionRange(12, 12); }")
    card(page, "prompt-cards", "marc_allante").click()
    expect(prompt).to_have_value("a red circle, marc_allante, on a blue background")
    used = generate(page, app)
    _, pairs = read_infotext(read_parameters(used))
    assert list(embedding_hashes(pairs)) == ["marc_allante"]

    # A weight, a second embedding, and the negative prompt.
    write_embedding(app.embeddings / "bad-dots.bin", seed=1, count=1)
    expect(card(page, "prompt-cards", "bad-dots")).to_be_visible()
    negative.focus()
    card(page, "prompt-cards", "bad-dots").click()
    expect(negative).to_have_value("bad-dots")
    weighted = generate(page, app, "a red circle, (marc_allante:1.4), on a blue background")
    _, pairs = read_infotext(read_parameters(weighted))
    assert set(embedding_hashes(pairs)) == {"marc_allante", "bad-dots"}
    assert np.any(np.asarray(Image.open(weighted)) != np.asarray(Image.open(used)))

    # Overwritten it acts differently, deleted it is gone from every tab.
    write_embedding(app.embeddings / "marc_allante.pt", seed=9)
    expect(page.locator(".xray").first).to_contain_text("marc_allante")
    time.sleep(1)
    rewritten = generate(page, app)
    assert np.any(np.asarray(Image.open(rewritten)) != np.asarray(Image.open(weighted)))
    (app.embeddings / "marc_allante.pt").unlink()
    for tab in (page, other):
        expect(card(tab, "prompt-cards", "marc_allante")).to_have_count(0, timeout=30_000)
    negative.fill("")

    # Training: five pictures, a name, a word; pictures are drawn meanwhile.
    toadstool = next(concept for concept in OBJECTS if concept.name == "toadstool")
    page.get_by_role("tab", name="Train").click()
    files = []
    for number, (image, _) in enumerate(training_pictures(toadstool)):
        path = app.outputs.parent / f"{number}.png"
        image.save(path)
        files.append(path)
    page.locator("#train-pictures input[type=file]").set_input_files(files)
    expect(page.locator("#train-shown img")).to_have_count(5)
    page.locator("#train-name input").fill("my_toadstool")
    page.locator("#train-initializer input").fill(toadstool.initializer)
    page.locator("#train-start").click()
    expect(page.locator("#train-progress")).to_contain_text("Training, step", timeout=90_000)
    other.get_by_role("tab", name="Train").click()
    expect(other.locator("#train-progress")).to_contain_text("my_toadstool")
    other.get_by_role("tab", name="txt2img").click()
    generate(other, app, "a green heart on a yellow background")

    # Closing the page does not end it, and a new one shows it again.
    page.context.close()
    page = open_page()
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-progress")).to_contain_text("my_toadstool")
    expect(page.locator("#train-progress")).to_contain_text("Finished", timeout=TRAINED_MS)
    expect(page.locator("#train-previews img").first).to_be_visible()
    expect(page.locator("#train-report")).to_contain_text("Verdict")

    # The new file is there, and its name draws the thing.
    assert (app.embeddings / "my_toadstool.safetensors").is_file()
    page.get_by_role("tab", name="Embeddings").click()
    expect(card(page, "all-cards", "my_toadstool")).to_be_visible()
    page.get_by_role("tab", name="txt2img").click()
    mine = generate(page, app, "a photo of my_toadstool on a green background", seed=11)
    red, green, blueness = object_colour(mine)
    assert red > max(green, blueness) + 25, "the toadstool is not red"
    red, green, blueness = border_colour(mine)
    assert green > max(red, blueness) + 25, "the background is not green"
