"""What a picture names is compared with what is here, by hash before name."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.embeddings.cards import Card
from webui.embeddings.sidecars import Notes
from webui.generation.metadata.infotext import read_infotext
from webui.generation.metadata.provenance import check_embeddings, check_model, with_names_here

TAIL = "Steps: 20, Sampler: Euler, Seed: 1"
HASH = "c74b4e810b03"


def card(name: str, short_hash: str = HASH, **options: object) -> Card:
    return Card(
        name=name, path=Path(name), root=Path(), folder="", widths={"clip_l": 768}, vectors=2,
        short_hash=short_hash, **options,
    )  # fmt: skip


def states(text: str, *cards: Card) -> dict[str, str]:
    found = check_embeddings(*read_infotext(text), cards)
    return {finding.name: finding.state for finding in found}


@pytest.mark.parametrize(
    ("here", "state"),
    [
        (card("EasyNegative"), "present"),
        (card("easynegative"), "present"),
        (card("other"), "renamed"),
        (card("EasyNegative", "0" * 12), "different"),
        (card("something", "0" * 12), "missing"),
    ],
)
def test_an_embedding_with_a_hash(here: Card, state: str):
    text = f'a cat\n{TAIL}, TI hashes: "EasyNegative: {HASH}"'
    assert states(text, here) == {"EasyNegative": state}


def test_hashes_of_other_programs_are_read():
    civitai = f'{TAIL}, Hashes: {{"model": "6ce0161689", "embed:mood": "{HASH[:10].upper()}"}}'
    assert states(f"a\n{civitai}", card("mood")) == {"mood": "present"}
    assert states(f"a\n{TAIL}, TI: mood", card("mood")) == {"mood": "unchecked"}


def test_names_in_the_prompts_are_found_by_the_prompt_language():
    text = f"a (mood:1.2), <embedding:gone>, word\nNegative prompt: bad-hands\n{TAIL}"
    cards = [card("mood"), card("bad-hands"), card("word", notes=Notes(explicit_only=True))]
    assert states(text, *cards) == {
        "mood": "unchecked", "gone": "missing", "bad-hands": "unchecked",
    }  # fmt: skip


def test_a_name_is_told_once_however_it_is_written():
    text = f'(My, emb:1.2)\n{TAIL}, TI hashes: "my emb: {HASH}"'
    assert list(states(text, card("My, emb")).values()) == ["present"]


def test_a_renamed_embedding_can_be_called_by_its_name_here():
    text = (
        f'a (old one:1.2), <embedding:old one:0.7>, bold one\n{TAIL}, TI hashes: "old one: {HASH}"'
    )
    request, pairs = read_infotext(text)
    cards = [card("my (x)")]
    found = check_embeddings(request, pairs, cards)
    assert with_names_here(request.prompt, found, cards) == (
        r"a (my \(x\):1.2), <embedding:my (x):0.7>, bold one"
    )


def test_a_broken_file_says_so():
    found = check_embeddings(
        *read_infotext(f'a\n{TAIL}, TI hashes: "mood: {HASH}"'), [card("mood", problem="Broken.")]
    )
    assert "Broken." in found[0].sentence


@pytest.mark.parametrize(
    ("here", "state"),
    [
        ({"sd/v1-5": "6ce0161689"}, "present"),
        ({"other": "6ce0161689"}, "renamed"),
        ({"v1-5": "0000000000"}, "different"),
        ({"v1-5": None}, "unchecked"),
        ({"other": None}, "missing"),
    ],
)
def test_a_model(here: dict[str, str | None], state: str):
    finding = check_model({"Model": "v1-5", "Model hash": "6ce0161689"}, here, "")
    assert finding is not None and finding.state == state


def test_a_picture_that_names_no_model():
    assert check_model({}, {"v1-5": None}, "") is None
