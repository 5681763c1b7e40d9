"""The model is loaded in the background, and whoever needs it waits or hears why not."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from tests.conftest import write_tiny_checkpoint
from webui.errors import AppError, BadField
from webui.models.model import Model
from webui.studio.gpu import GpuGate
from webui.studio.models_in_use import ModelChoice, ModelsInUse


def models_in(folder: Path, **options: int) -> ModelsInUse:
    return ModelsInUse(folder, GpuGate(), "cpu", "fp32", folder / "hashes.json", **options)


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


def test_each_model_is_compiled_if_that_is_asked_for(tiny_checkpoint: Path):
    for wish in (False, True):
        models = models_in(tiny_checkpoint, compiled=wish)
        models.switch()
        model = models.get(60)
        assert (model.compiled is not None) == wish
        assert not wish or model.compiled.network is model.unet


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder of the models "one" and "two"."""
    write_tiny_checkpoint(tmp_path / "one", seed=1)
    write_tiny_checkpoint(tmp_path / "two", seed=2)
    return tmp_path


def switched(models: ModelsInUse, name: str) -> Model:
    models.switch(name)
    return models.get(60)


def test_the_model_before_waits_in_memory_until_its_files_change(two: Path):
    models = models_in(two, stays_free_bytes=0)
    one, other = switched(models, "one"), switched(models, "two")
    assert switched(models, "one") is one
    assert switched(models, "two") is other
    (two / "one" / "scheduler" / "scheduler_config.json").write_text('{"beta_start": 0.001}')
    changed = switched(models, "one")
    assert changed is not one and changed.scheduler_config == {"beta_start": 0.001}


def test_only_one_model_waits(two: Path):
    write_tiny_checkpoint(two / "three", seed=3)
    models = models_in(two, stays_free_bytes=0)
    one = weakref.ref(switched(models, "one").unet)
    switched(models, "two")
    switched(models, "three")
    gc.collect()
    assert one() is None


def test_without_room_for_two_a_model_is_read_again(two: Path):
    models = models_in(two, stays_free_bytes=2**60)
    one = weakref.ref(switched(models, "one").unet)
    switched(models, "two")
    gc.collect()
    assert one() is None
    assert switched(models, "one").name == "one"


def test_after_a_model_that_cannot_be_loaded_the_one_before_comes_back_at_once(two: Path):
    (two / "two" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    models = models_in(two, stays_free_bytes=0)
    one = switched(models, "one")
    with pytest.raises(AppError, match="FluxPipeline"):
        switched(models, "two")
    assert switched(models, "one") is one


def test_an_unloaded_model_frees_its_memory_and_comes_back_when_it_is_needed(two: Path):
    models = models_in(two, stays_free_bytes=0)
    unets = [weakref.ref(switched(models, name).unet) for name in ("one", "two")]
    models.unload()
    gc.collect()
    assert [unet() for unet in unets] == [None, None]
    assert models.state.unloaded and not models.state.loading and models.state.name == "two"
    assert models.get(60).name == "two" and not models.state.unloaded
    models.unload()
    assert models.bring().name == "two" and models.state.model is models.get(1)
    models.unload()
    models.switch("two")
    assert models.get(60).name == "two"


def test_a_model_asked_for_again_before_its_turn_is_not_read_anew(two: Path):
    models = models_in(two, stays_free_bytes=0)
    one = switched(models, "one")
    with models._gate.hold("a long image"):
        models.switch("two")
        models.switch("one")
    assert models.get(60) is one


def test_the_vae_is_chosen_by_itself_and_stays_chosen(two: Path):
    files = {"one": two / "one" / "vae" / "diffusion_pytorch_model.safetensors"}
    (two / "vae").mkdir()
    other = write_tiny_checkpoint(two.parent / "other", seed=3)
    weights = other / "vae" / "diffusion_pytorch_model.safetensors"
    (two / "vae" / "soft.safetensors").write_bytes(weights.read_bytes())
    (two / "vae" / "one.safetensors").write_bytes(files["one"].read_bytes())
    (two / "vae" / "notes.txt").write_text("no VAE")
    models = models_in(two)
    assert models.vaes() == ["Automatic", "None", "one.safetensors", "soft.safetensors"]
    found = {}
    for choice in ("Automatic", "None", "soft.safetensors"):
        models.switch("one", choice)
        found[choice] = models.get(60)
        assert models.state.vae == choice
    names = [model.vae_name for model in found.values()]
    assert names == ["one.safetensors", None, "soft.safetensors"]
    kernels = [model.vae.decoder.conv_in.weight for model in found.values()]
    assert kernels[0].equal(kernels[1]) and not kernels[0].equal(kernels[2])
    assert switched(models, "two").vae_name == "soft.safetensors"
    with pytest.raises(BadField, match="no VAE “gone.pt”"):
        models.switch("two", "gone.pt")
    assert models.state.vae == "soft.safetensors" and models.get(1).name == "two"


def test_a_model_brought_for_one_job_is_chosen_for_nobody_else(tmp_path: Path):
    for seed, name in enumerate(("first", "second")):
        write_tiny_checkpoint(tmp_path / name, seed=seed)
    models = models_in(tmp_path)
    models.switch("first")
    first = models.get(60)
    assert models.bring(ModelChoice("second")).name == "second"
    assert models.state.name == "first" and models.get(60) is first
    assert models.bring() is first, "it was kept in memory"
    with pytest.raises(AppError):
        models.bring(ModelChoice("third"))
    assert models.bring() is first


def test_a_model_that_there_was_no_room_to_keep_comes_back(tmp_path: Path):
    for seed, name in enumerate(("first", "second")):
        write_tiny_checkpoint(tmp_path / name, seed=seed)
    models = models_in(tmp_path, stays_free_bytes=2**62)
    models.switch("first")
    models.get(60)
    models.bring(ModelChoice("second"))
    assert models.state.name == "first" and models.state.loading
    models.settle()
    assert models.get(60).name == "first"


def test_a_switch_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_tiny_checkpoint(tmp_path / "one")
    models, seen = models_in(tmp_path), []
    report = ModelsInUse._report

    def watched(self: ModelsInUse, name: str, share: float) -> None:
        report(self, name, share)
        seen.append((self.state.name, self.state.percent))

    monkeypatch.setattr(ModelsInUse, "_report", watched)
    models.switch("one")
    models.get(60)
    percents = [percent for _, percent in seen]
    assert {name for name, _ in seen} == {"one"} and percents == sorted(percents)
    assert len(set(percents)) == 3 and percents[-1] == 100
    version = models.state.version
    models._report("one", 0.5)
    assert models.state.version == version, "it is there already"
