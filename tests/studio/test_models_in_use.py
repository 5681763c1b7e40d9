"""The model is loaded in the background, and whoever needs it waits or hears why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import write_tiny_checkpoint
from webui.errors import AppError
from webui.studio.gpu import GpuGate
from webui.studio.models_in_use import ModelsInUse


def models_in(folder: Path) -> ModelsInUse:
    return ModelsInUse(folder, GpuGate(), "cpu", "fp32", folder / "hashes.json")


def test_a_model_is_loading_until_it_is_there(tiny_checkpoint: Path):
    models = models_in(tiny_checkpoint)
    models.switch()
    assert models.state.loading and models.state.name == "tiny"
    model = models.get(60)
    assert model is models.state.model and not models.state.loading
    assert model.widths == {"clip_l": 128}


def test_without_any_model_it_is_said_where_to_put_one(tmp_path: Path):
    with pytest.raises(AppError, match="There is no model in"):
        models_in(tmp_path).switch()


def test_an_unknown_name_is_refused_and_the_loaded_model_stays(tiny_checkpoint: Path):
    models = models_in(tiny_checkpoint)
    models.switch("tiny")
    model = models.get(60)
    with pytest.raises(AppError, match="no model “other”"):
        models.switch("other")
    assert models.get(1) is model


def test_a_broken_model_is_a_reason_and_another_one_can_be_chosen(tmp_path: Path):
    write_tiny_checkpoint(tmp_path / "good")
    broken = write_tiny_checkpoint(tmp_path / "bad")
    (broken / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    models = models_in(tmp_path)
    models.switch("bad")
    with pytest.raises(AppError, match="FluxPipeline"):
        models.get(60)
    assert "FluxPipeline" in models.state.problem
    models.switch("good")
    assert models.get(60).name == "good"
