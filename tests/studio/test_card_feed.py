"""What a click on a card writes, and what a card says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.parts import studio_without_model, wait_until
from webui.embeddings.library import Card, Notes
from webui.embeddings.sidecars import Published
from webui.studio.card_feed import CardFeed, call, card_data
from webui.studio.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """An open studio that has loaded no model, which every embedding would have to fit."""
    with studio_without_model(tmp_path) as opened:
        yield opened


def card(name: str, **notes: object) -> Card:
    return Card(
        name=name, path=Path(name), root=Path(), folder="", widths={"clip_l": 768}, vectors=2,
        notes=Notes(**notes),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (card("marc_allante"), "marc_allante"),
        (card("my(emb)"), r"my\(emb\)"),
        (card("bad-hands-5", preferred_weight=0.8), "(bad-hands-5:0.8)"),
        (card("face", preferred_weight=1.0), "face"),
        (card("painting", explicit_only=True), "<painting>"),
    ],
)
def test_a_click_writes_a_call_that_is_understood(given: Card, written: str):
    assert call(given) == written


def test_a_card_says_what_the_file_is_or_why_it_cannot_be_used(studio: Studio):
    folder = studio.settings.embeddings_dirs[0]
    torch.save({"string_to_param": {"*": torch.randn(3, 768)}}, folder / "good.pt")
    (folder / "bad.pt").write_text("not an embedding")
    wait_until(lambda: len(studio.library.snapshot().cards) == 2)
    bad, good = (card_data(studio, card) for card in studio.library.snapshot().cards)
    assert good["badges"] == ["SD1", "3 vectors"] and good["reason"] is None
    assert bad["badges"] == [] and "text file" in bad["reason"]


def test_a_card_is_marked_where_its_vectors_are_no_usual_ones(studio: Studio):
    folder = studio.settings.embeddings_dirs[0]
    save_file({"clip_l": torch.randn(2, 768)}, folder / "half.safetensors")
    save_file({"embedding": torch.randn(1, 77, 768)}, folder / "reneg.safetensors")
    wait_until(lambda: len(studio.library.snapshot().cards) == 2)
    half, whole = (card_data(studio, card) for card in studio.library.snapshot().cards)
    assert (half["badges"], half["family"]) == (["SDXL (clip_l only)", "2 vectors"], "SDXL")
    assert (whole["badges"], whole["side"]) == (["whole negative prompt", "SD1"], "negative")


def test_a_card_shows_what_civitai_says_where_nothing_else_is_written(studio: Studio):
    said = Published("Easy v1", ("mjau",), "SD 1.5")
    data = card_data(studio, card("easy", published=said))
    assert data["description"] == "Easy v1" and "mjau" in data["haystack"]


def test_a_page_gets_all_cards_at_first_and_then_only_what_changed(studio: Studio):
    folder, feed = studio.settings.embeddings_dirs[0], CardFeed(studio)

    def put(name: str) -> None:
        torch.save({"string_to_param": {"*": torch.randn(2, 768)}}, folder / f"{name}.pt")

    put("first")
    wait_until(lambda: studio.library.card("first") is not None)
    first = feed.since("", 0)
    assert first["all"] and [item["name"] for item in first["changed"]] == ["first"]
    put("second")
    wait_until(lambda: studio.library.card("second") is not None)
    news = feed.since(first["run"], first["revision"])
    assert not news["all"] and [item["name"] for item in news["changed"]] == ["second"]
    (folder / "first.pt").unlink()
    wait_until(lambda: studio.library.card("first") is None)
    gone = feed.since(news["run"], news["revision"])
    assert gone["changed"] == [] and gone["gone"] == [str(folder / "first.pt")]
    again = feed.since("another run", gone["revision"])
    assert again["all"] and [item["name"] for item in again["changed"]] == ["second"]
