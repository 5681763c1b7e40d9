"""Measuring asked for by the page: figures and a contact sheet lie beside the embedding then."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.conftest import picture_files  # noqa: F401
from webui.embeddings import formats
from webui.embeddings.embedding import Embedding
from webui.errors import AppError
from webui.files import write_whole
from webui.job_state import JobState
from webui.studio.measuring import Sheet
from webui.studio.studio import Studio
from webui.training.dataset import read_pictures
from webui.training.learned.lora import file_of, new_lora


def put(studio: Studio, name: str, rows: int = 1) -> str:
    width = studio.models.get(60).widths["clip_l"]
    path = studio.settings.embeddings_dirs[0] / f"{name}.safetensors"
    made = Embedding(name, {"clip_l": 0.05 * torch.ones(rows, width)})
    formats.write(made, path, "safetensors", {"initializer": "star"})
    studio.library.refresh()
    return str(path)


def finished(studio: Studio) -> JobState:
    return list(studio.measuring.updates())[-1].state


def test_figures_and_sheet_lie_in_the_notes_until_the_vectors_change(studio: Studio):
    key, folder = put(studio, "thing"), studio.settings.embeddings_dirs[0]
    (folder / "thing.json").write_text('{"notes": "mine"}')
    studio.measuring.start([key])
    with pytest.raises(AppError, match="“thing” is being measured"):
        studio.measuring.start([key])
    assert finished(studio) is JobState.FINISHED
    card = studio.library.card_at(key)
    figures, sheet = studio.library.measured(card)
    assert figures["compared_with"] == "star" and figures["editability"] > 0
    assert sheet == folder / "thing.measured.jpg"
    assert json.loads((folder / "thing.json").read_text())["notes"] == "mine"
    assert card.preview is None
    moved = studio.library.rename("thing", "other", card.path)
    assert (folder / "other.measured.jpg").is_file()
    put(studio, "other", rows=2)
    assert studio.library.measured(studio.library.card_at(moved.key)) == ({}, None)


def test_an_embedding_is_measured_and_drawn_with_the_lora_that_brings_it_along(
    studio: Studio,
    tmp_path: Path,
    picture_files: Callable,  # noqa: F811
):
    put(studio, "thing")
    embedding, model = studio.library.get("thing"), studio.models.get(60)
    pictures = read_pictures(picture_files(3))
    alone, _, _ = studio.measuring.measure(embedding, "", pictures)
    lora = {
        name: torch.ones_like(weights)
        for name, weights in new_lora(model.unet, 1, "words", 0, model.device).items()
    }
    loras = studio.measuring._loras = tmp_path / "lora"
    other = replace(embedding, vectors={"clip_l": embedding.vectors["clip_l"] + 1}, known_hash=None)
    for name, brought in (("thing", other), ("other+thing", embedding)):
        write_whole(loras / f"{name}.safetensors", file_of(lora, [brought], {}))
    together, recipe, learned = studio.measuring.measure(embedding, "", pictures)
    assert (alone.with_lora, together.with_lora) == (False, True)
    assert together.gain != alone.gain and together.editability == alone.editability
    assert learned.lora.keys() == lora.keys()
    plain, strong = (
        studio.measuring.draw(step, together, recipe, Sheet(("[name]",), (1.0,)), lambda: None)
        for step in (replace(learned, lora={}), learned)
    )
    assert plain.tobytes() != strong.tobytes()


def test_stop_ends_it_and_keeps_what_is_measured(studio: Studio):
    keys = [put(studio, "one"), put(studio, "two")]
    studio.measuring.start(keys)
    for view in studio.measuring.updates():
        if view.measured:
            studio.measuring.stop()
    assert view.state is JobState.STOPPED
    assert [item.name for item in view.measured] == ["one"]
    assert studio.library.measured(studio.library.card_at(keys[1])) == ({}, None)


def test_what_cannot_be_measured_is_said(studio: Studio):
    with pytest.raises(AppError, match="at least one"):
        studio.measuring.start([])
    with pytest.raises(AppError, match="can be used"):
        studio.measuring.start(["/etc/passwd"])
