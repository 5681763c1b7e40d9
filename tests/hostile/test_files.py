"""Hostile files cost at most their own card, and no time or memory to speak of."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hostile.builders import EMBEDDINGS, PICTURES, safetensors
from tests.hostile.clock import within
from webui.embeddings import formats
from webui.embeddings.library import EmbeddingLibrary
from webui.errors import AppError, UnreadableFile
from webui.generation.metadata.png_info import read_picture
from webui.models.weights_file import open_weights

LONGEST_S = 8
"""Of processor time for a file."""


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_an_embedding_is_refused_in_time(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(EMBEDDINGS[name]())
    with within(LONGEST_S), pytest.raises(formats.Refused):
        formats.inspect(path)


@pytest.mark.parametrize("name", [name for name in EMBEDDINGS if not name.endswith(".png")])
def test_a_checkpoint_is_refused_in_time(tmp_path: Path, name: str):
    path = tmp_path / name.replace(".pt", ".ckpt")
    path.write_bytes(EMBEDDINGS[name]())
    with within(LONGEST_S), pytest.raises(UnreadableFile), open_weights(path):
        pass


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_read_or_refused_in_time(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(PICTURES[name]())
    with within(LONGEST_S), suppress(AppError):
        read_picture(path)


def test_a_text_of_20_megabytes_in_a_picture_is_refused_in_words(tmp_path: Path):
    path = tmp_path / "long.png"
    path.write_bytes(PICTURES["long-text.png"]())
    with pytest.raises(AppError, match="9,999,999 characters; at most"):
        read_picture(path)


def test_names_and_notes_of_every_kind_leave_the_cards_to_be_had(tmp_path: Path):
    folder = tmp_path / "embeddings"
    folder.mkdir()
    honest = Path(__file__).resolve().parents[2] / "embeddings" / "toadstool.safetensors"
    names = [b"not-\xff-utf8.safetensors", "turned-\u202etp.safetensors".encode(),
             b"esc-\x1b[31m.safetensors", b"fine.safetensors"]  # fmt: skip
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(honest.read_bytes())
    (folder / "fine.json").write_text('{"description": "\\ud800 half", "tags": ["\\udc00"]}')
    (folder / "text.safetensors").write_bytes(
        safetensors(b'{"__metadata__":{"name":"\\ud800"},"a":{"dtype":"F32","shape":[1,1],'
                    b'"data_offsets":[0,4]}}')
    )  # fmt: skip
    os.mkfifo(folder / "fine.preview.png")
    (folder / "up").symlink_to(tmp_path)
    (tmp_path / "outside.safetensors").write_bytes(honest.read_bytes())
    library = EmbeddingLibrary([folder], tmp_path / "index.sqlite")
    library.start()
    cards = {card.path.name: card for card in library.snapshot().cards}
    library.stop()
    assert len(cards) == 5 and cards["fine.safetensors"].usable
    assert "outside.safetensors" not in cards
    for name, card in cards.items():
        json.dumps([card.name, card.notes.description, card.notes.tags]).encode()
        card.name.encode()
        assert card.usable or name not in ("fine.safetensors", "text.safetensors")
    assert cards[os.fsdecode(names[1])].problem and cards[os.fsdecode(names[2])].problem


def test_nothing_of_a_lora_reaches_the_library_but_plainly_named_tensors(
    tmp_path: Path, tiny_model
):
    from webui.generation.loras import applied
    from webui.prompting.loras import LoraCall

    pattern = "unet.(a+)+$.lora_A.weight"
    entry = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}
    path = tmp_path / "slow.safetensors"
    path.write_bytes(safetensors(json.dumps({pattern: entry}).encode()))
    with applied(tiny_model, [LoraCall("slow", 1.0, 1.0)], {"slow": path}) as done:
        assert "slow" in done.warnings[0]
