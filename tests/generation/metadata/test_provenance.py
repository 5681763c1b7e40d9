"""What a picture names is compared with what is here, by hash before name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from webui.embeddings.cards import Card
from webui.embeddings.sidecars import Notes, Published
from webui.generation.metadata.infotext import civitai_resources, read_infotext, read_settings
from webui.generation.metadata.provenance import (
    check_embeddings,
    check_loras,
    check_model,
    with_names_here,
)

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


RESOURCES = (
    '[{"type":"checkpoint","modelVersionId":290640,"modelName":"Easy [Ink], XL",'
    '"modelVersionName":"V6 (start)"},{"type":"embed","weight":1,"modelVersionId":9208,'
    '"modelName":"Mood"},{"type":"lora","weight":0.8,"modelVersionId":7,"modelName":"Soft Paper"}]'
)
CIVITAI = (
    f"a cat\nSteps: 25, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 7, Size: 832x1216, Clip "
    f"skip: 2, Created Date: 2024-04-01T12:00:00.0000000Z, Civitai resources: {RESOURCES}, "
    "Civitai metadata: {}"
)


def test_what_civitais_own_generator_lists_is_understood():
    request, pairs = read_infotext(CIVITAI)
    assert (request.steps, request.seed, request.clip_skip, request.width) == (25, 7, 2, 832)
    assert read_settings(pairs).refused == ()
    assert pairs["Civitai resources"] == RESOURCES and pairs["Civitai metadata"] == "{}"
    published = Notes(published=Published("Mood v1", version_id=9208))
    assert states(CIVITAI, card("my-mood", notes=published)) == {"Mood": "present"}
    assert states(CIVITAI, card("mood")) == {"Mood": "unchecked"}
    assert states(CIVITAI, card("other")) == {"Mood": "missing"}
    model = check_model(pairs, {"easyInkXL_v6Start": None, "other": None}, "other")
    assert (model.name, model.state) == ("Easy [Ink], XL", "unchecked")
    assert model.here == "easyInkXL_v6Start"
    assert check_model(pairs, {"other": None}, "other").state == "missing"
    [lora] = check_loras(request, pairs, {"softpaper_v2": ""})
    assert (lora.name, lora.state, lora.here) == ("Soft Paper", "unchecked", "softpaper_v2")


def test_loras_that_a_picture_names_are_looked_for():
    hashes = f'a\n{TAIL}, Lora hashes: "ink: {HASH}, Paper: 01", Hashes: {{"lora:ink": "{HASH}"}}'
    found = check_loras(*read_infotext(hashes), {"paper": ""})
    assert [(item.name, item.state) for item in found] == [
        ("ink", "missing"), ("Paper", "unchecked"),
    ]  # fmt: skip
    prompts = "a <lora:Foo:0.8> <lora:paper:1>\nNegative prompt: <lora:bar>"
    called = f'{prompts}\n{TAIL}, Lora hashes: "foo: 01"'
    found = check_loras(*read_infotext(called), {"paper": ""})
    assert [(item.name, item.state) for item in found] == [
        ("foo", "missing"), ("paper", "unchecked"), ("bar", "missing"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["[", "[1]", '[{"modelName": 5}]', "[" * 50_000, '["a: [",' * 9999]
)
def test_resources_that_are_none_do_no_harm(text: str):
    begun = time.monotonic()
    pairs = read_infotext(f"a\n{TAIL}, Civitai resources: {text}")[1]
    assert civitai_resources(pairs) == [] and time.monotonic() - begun < 5


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
