"""Which of the embeddings and the model that a picture names are here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webui.embeddings.cards import Card
from webui.generation.metadata.infotext import civitai_resources, embedding_hashes, lora_names
from webui.generation.request import PROMPTS, GenerationRequest
from webui.prompting.editing.calls import call_text
from webui.prompting.loras import take_loras
from webui.prompting.names import NameIndex, find_calls

SHORTEST_HASH = 8
"""Hex digits from which a hash tells one file from another."""


@dataclass(frozen=True)
class Finding:
    """Something that a picture names, and how it stands here."""

    name: str
    """As the picture writes it."""
    state: str
    """present (the same file), renamed (the same file under another name), different (another
    file of this name), missing, or unchecked (here, but nothing to compare it by)."""
    sentence: str
    here: str = ""
    """What it is called here, "" if it is not."""


def check_embeddings(
    request: GenerationRequest, pairs: Mapping[str, str], cards: Sequence[Card]
) -> list[Finding]:
    """Return how each embedding that a picture names stands among the cards of the library.

    Names come from the hashes in its settings, and from its prompts by the rules of the prompt
    language.
    """
    named = {_plain(name): (name, digest) for name, digest in embedding_hashes(pairs).items()}
    for name in called_in([getattr(request, field) for field in PROMPTS], cards):
        named.setdefault(_plain(name), (name, ""))
    found = [_check(name, digest, cards) for name, digest in named.values()]
    for resource in civitai_resources(pairs):
        if resource.kind == "embedding" and _plain(resource.name) not in named:
            found.append(_check_published(resource.name, resource.version_id, cards))
    return found


def _check_published(name: str, version_id: int, cards: Sequence[Card]) -> Finding:
    """Return how an embedding stands here that is named as on CivitAI."""
    same = [card for card in cards if version_id and card.notes.published.version_id == version_id]
    if same:
        card = next((card for card in same if card.usable), same[0])
        return Finding(name, "present", f"CivitAI's “{name}” is here: “{card.name}”.", card.name)
    if any(_plain(card.name) == _plain(name) for card in cards):
        return _check(name, "", cards)
    sentence = "CivitAI calls it so; none here is known to be it. Look them up on CivitAI."
    return Finding(name, "missing", sentence)


def check_loras(
    request: GenerationRequest, pairs: Mapping[str, str], here: Mapping[str, object]
) -> list[Finding]:
    """Return how each LoRA that a picture's settings name or its prompts call stands here.

    ``here`` has the names of the LoRAs, case folded.
    """
    called = (call.name for field in PROMPTS for call in take_loras(getattr(request, field))[1])
    named = list({name.casefold(): name for name in (*called, *lora_names(pairs))}.values())
    findings = [
        Finding(name, "unchecked", "There is one of this name here.", name)
        if name.casefold() in here
        else Finding(name, "missing", "It is not here; the image will look different.")
        for name in named
    ]
    published = [item.name for item in civitai_resources(pairs) if item.kind == "lora"]
    for name in published if not named else ():
        file = next((file for file in here if _is_file_of(file, name)), "")
        sentence = f"There is one of this name here: “{file}”." if file else _NOT_HERE
        findings.append(Finding(name, "unchecked" if file else "missing", sentence, file))
    return findings


_NOT_HERE = "CivitAI calls it so; there is no file of such a name here."


def called_in(texts: Sequence[str], cards: Sequence[Card]) -> list[str]:
    """Return the names of embeddings that some prompts call, each once, missing ones included."""
    usable = {card.name: card for card in cards if card.usable}
    index = NameIndex(usable)
    calls = (
        call.name
        for text in texts
        for call in find_calls(text, index, lambda name: not usable[name].explicit_only)
    )
    return list(dict.fromkeys(calls))


def _check(name: str, digest: str, cards: Sequence[Card]) -> Finding:
    same_name = [card for card in cards if _plain(card.name) == _plain(name)]
    same_file = [card for card in cards if same_hash(card.short_hash, digest)]
    card = next((card for card in same_name if card in same_file), None)
    if card is not None and card.usable:
        return Finding(name, "present", "It is here, and its file is the same.", card.name)
    if card is not None:
        return Finding(name, "present", f"Its file is here. {card.problem or _SHADOWED}", card.name)
    if same_file:
        other = next((card for card in same_file if card.usable), same_file[0])
        sentence = f"The same file is here under another name: “{other.name}”."
        return Finding(name, "renamed", sentence, other.name)
    if not same_name:
        return Finding(name, "missing", "It is not here; its name would be read as words.")
    if not is_hash(digest):
        sentence = "There is one of this name here; the image has no hash to compare it by."
        return Finding(name, "unchecked", sentence, same_name[0].name)
    return Finding(
        name,
        "different",
        f"There is one of this name here, but its file is another one: {same_name[0].short_hash} "
        f"here, {digest} in the image.",
        same_name[0].name,
    )


_SHADOWED = "Another file of the same name is used in its place."


def with_names_here(text: str, findings: Sequence[Finding], cards: Sequence[Card]) -> str:
    """Return a prompt in which embeddings that have another name here are called by that."""
    usable = {card.name: card.explicit_only for card in cards if card.usable}
    renamed = {
        _plain(found.name): found.here
        for found in findings
        if found.state == "renamed" and found.here in usable
    }
    names = [found.name for found in findings if _plain(found.name) in renamed]
    pieces, position = [], 0
    for call in find_calls(text, NameIndex(names), lambda name: True):
        if call.known:
            here = renamed[_plain(call.name)]
            written = call_text(here, usable[here])
            if call.weight != 1:
                written = f"<embedding:{here}:{call.weight:g}>"
            pieces += [text[position : call.start], written]
            position = call.end
    return "".join([*pieces, text[position:]])


def check_model(
    pairs: Mapping[str, str], here: Mapping[str, str | None], loaded: str
) -> Finding | None:
    """Return how the model that a picture names stands here; None if it names none.

    ``here`` maps the names of the checkpoints to their hashes, None where it is not known yet.
    ``loaded`` is the name of the one in use.
    """
    name, digest = pairs.get("Model", ""), pairs.get("Model hash", "")
    resources = civitai_resources(pairs)
    published = next((item.name for item in resources if item.kind == "checkpoint"), "")
    if not (name or digest or published):
        return None
    shown = name or digest or published
    by_hash = [other for other, known in here.items() if same_hash(known or "", digest)]
    by_name = [other for other in here if name and _stem(other) == _stem(name)]
    if not (name or digest):
        by_name = [other for other in here if _is_file_of(other, published)]
    both = next((other for other in by_name if other in by_hash), None)
    if both or by_hash:
        found = both or by_hash[0]
        state = "present" if both else "renamed"
        called = "" if both else f" under another name: “{found}”"
        return Finding(shown, state, f"It is here{called}{_in_use(found, loaded)}.", found)
    if not by_name:
        return Finding(shown, "missing", "It is not here; the image will look different.")
    found = by_name[0]
    if here[found] is None or not is_hash(digest):
        sentence = f"There is one of this name here{_in_use(found, loaded)}; its hash is not known."
        return Finding(shown, "unchecked", sentence, found)
    sentence = (
        f"There is one of this name here{_in_use(found, loaded)}, but its hash is another one: "
        f"{here[found]} here, {digest} in the image."
    )
    return Finding(shown, "different", sentence, found)


def _in_use(name: str, loaded: str) -> str:
    return " and in use" if name == loaded else " but not in use"


def is_hash(text: str) -> bool:
    """Say whether a text is the beginning of a SHA-256, long enough to tell files apart."""
    return bool(re.fullmatch(rf"[0-9a-fA-F]{{{SHORTEST_HASH},64}}", text))


def same_hash(one: str, other: str) -> bool:
    """Say whether two beginnings of a SHA-256, maybe of different lengths, are of one file."""
    if not (is_hash(one) and is_hash(other)):
        return False
    length = min(len(one), len(other))
    return one[:length].lower() == other[:length].lower()


def _plain(name: str) -> str:
    """Return a name as it can be compared: hashes are written without colons and commas."""
    return re.sub("[:,]", "", name).strip().casefold()


def _is_file_of(file: str, published: str) -> bool:
    """Say whether a file is called as CivitAI calls those of a model: its name, then its version's.

    CivitAI leaves out blanks and signs, e.g. ``easyInk_v2`` for version v2 of “Easy Ink”.
    """
    letters = "".join(filter(str.isalnum, published)).casefold()
    return bool(letters) and "".join(filter(str.isalnum, _stem(file))).startswith(letters)


def _stem(name: str) -> str:
    """Return the last part of a model's name, as it can be compared."""
    return _plain(name.replace("\\", "/").rsplit("/", 1)[-1])
