"""Training jobs read from files: our own keys, and those of Kohya's scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webui.errors import AppError, BadField
from webui.training.jobs.config import job_of, read_job, read_jobs
from webui.training.jobs.kohya import translated
from webui.training.presets import preset
from webui.training.recipe import Recipe

KOHYA = {"token_string": "mug-1", "init_word": "mug", "max_train_steps": 3000}


def job(**values: Any):
    return job_of(values, Path("/at"))


def test_a_toml_file_says_what_the_recipe_can_say(tmp_path: Path):
    file = tmp_path / "mug.toml"
    file.write_text(
        'name = "mug-1"\ndata = "pictures"\ninit = "mug"\nlearning_rate = 0.05\nsteps = 200\n'
        'flip = true\ntemplates = ["a [name]"]\ncrop_positions = [0.0, -1]\n'
    )
    found = read_job(file)
    assert (found.name, found.initializer, found.data) == ("mug-1", "mug", tmp_path / "pictures")
    recipe = found.recipe_for("sd1")
    assert recipe == Recipe(
        learning_rate="0.05",
        steps=200,
        flip=True,
        templates=("a [name]",),
        crop_positions=(0.0, -1),
    )


def test_the_preset_holds_where_the_file_says_nothing():
    found = job(preset="object", batch_size=2)
    assert found.recipe_for("starter").steps == preset("object", "starter").steps
    assert found.recipe_for("starter").batch_size == 2


def test_a_file_for_an_earlier_version_says_the_same():
    old = job(init="mug", rate=0.05, batch=2, cosine=False, places=[0.5], precision="fp32")
    now = job(
        initializer="mug", learning_rate=0.05, batch_size=2, lr_scheduler="constant",
        crop_positions=[0.5], mixed_precision="fp32",
    )  # fmt: skip
    assert old.recipe_for("sd1") == now.recipe_for("sd1") and old.initializer == "mug"


def test_paths_start_at_the_file(tmp_path: Path):
    assert job(data="a/b").data == Path("/at/a/b")
    assert job(data=str(tmp_path)).data == tmp_path


@pytest.mark.parametrize(
    ("values", "field", "told"),
    [
        ({"setps": 3}, "setps", "Did you mean “steps”"),
        ({"steps": "many"}, "steps", "whole number"),
        ({"steps": 2.5}, "steps", "whole number"),
        ({"steps": True}, "steps", "number"),
        ({"steps": 0}, "steps", "between 1 and 20000"),
        ({"flip": "perhaps"}, "flip", "true or false"),
        ({"name": 3}, "name", "text"),
        ({"preset": "best"}, "preset", "Choose one of: draft"),
        ({"learning_rate": "fast"}, "learning_rate", "neither a number"),
        ({"templates": "a [name]"}, "templates", "list"),
        ({"crop_positions": [2]}, "crop_positions", "from 0 to 1"),
        ({"prior_weight": float("nan")}, "prior_weight", "between 0 and 1"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_by_its_key(values: dict, field: str, told: str):
    with pytest.raises(BadField, match=told) as refused:
        job_of(values, Path())
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.toml", "name = ", "a.toml is no TOML"),
        ("a.json", "{", "a.json is no JSON"),
        ("a.json", "3", "must be a table"),
        ("a.toml", "steps = -4", "a.toml, steps: Steps must be between"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, name: str, content: str, told: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(AppError, match=told):
        read_job(tmp_path / name)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(AppError, match="cannot be read"):
        read_job(tmp_path / "none.toml")


def test_jobs_share_defaults_and_may_differ(tmp_path: Path):
    file = tmp_path / "jobs.toml"
    file.write_text(
        '[defaults]\npreset = "draft"\nsteps = 9\n\n[[jobs]]\nname = "a-1"\ndata = "a"\n\n'
        '[[jobs]]\nname = "b-1"\ndata = "b"\nsteps = 7\n'
    )
    first, second = read_jobs(file)
    assert first.recipe["steps"] == 9 and second.recipe["steps"] == 7
    assert first.preset == second.preset == "draft" and second.data == tmp_path / "b"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "holds no jobs"),
        ({"job": []}, "neither “defaults” nor “jobs”"),
        ([{"name": "a-1"}, {"name": "A-1"}], "two jobs are called"),
        ([{"name": "a-1"}, {"data": "x"}], "job 2: give it a name"),
        ([{"name": "a-1", "steps": 0}], "job 1, steps: Steps must be between"),
        ([3], "job 1 must be a table"),
    ],
)
def test_errors_in_jobs_name_the_job(tmp_path: Path, values: Any, told: str):
    (tmp_path / "jobs.json").write_text(json.dumps(values))
    with pytest.raises(AppError, match=told):
        read_jobs(tmp_path / "jobs.json")


def test_kohyas_numbers_may_be_text_and_mean_the_same():
    found = job(
        **KOHYA,
        output_name="mug-1",
        learning_rate="5e-4",
        num_vectors_per_token="4",
        train_batch_size="2",
        gradient_accumulation_steps=3,
        lr_scheduler="cosine",
        lr_warmup="10",
        resolution="512,512",
        mixed_precision="bf16",
        save_every_n_steps="200",
        seed="",
    )
    recipe = found.recipe_for("sd1")
    assert found.notes == ()
    assert (recipe.optimizer, recipe.learning_rate, recipe.steps) == ("adamw", "5e-4", 3000)
    assert (recipe.vectors, recipe.batch_size, recipe.gradient_accumulation_steps) == (4, 2, 3)
    assert (recipe.lr_scheduler, recipe.warmup_steps, recipe.resolution) == ("cosine", 300, 512)
    assert (recipe.mixed_precision, recipe.evaluate_every, recipe.stop_early) == (
        "bf16",
        200,
        False,
    )


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"use_8bit_adam": True}, "36 KiB"),
        ({"optimizer_type": "AdamW8bit"}, "36 KiB"),
        ({"optimizer": "Prodigy"}, "no Prodigy here"),
        ({"cache_latents": True}, "always go through the VAE once"),
        ({"lr_scheduler": "polynomial"}, "no “polynomial”"),
        ({"output_name": "other"}, "write “other”, not “mug-1”"),
        ({"max_resolution": "512,768"}, "squares of 512"),
        ({"caption_dropout_rate": 0.1}, "an empty caption would teach"),
        ({"pretrained_model_name_or_path": "runwayml/sd-1-5"}, "nothing is downloaded; “sd-1-5”"),
        ({"no_such_key": 1}, "no_such_key: this setting is not known"),
    ],
)
def test_what_is_not_taken_over_is_answered(setting: dict, told: str):
    _, notes = translated({**KOHYA, **setting})
    assert any(told in note for note in notes), notes


def test_kohyas_caption_settings_and_float16_are_taken_over():
    found = job(
        **KOHYA,
        caption_dropout_rate="0.1",
        caption_tag_dropout_rate=0.2,
        shuffle_caption=True,
        mixed_precision="fp16",
    )
    recipe = found.recipe_for("sd1")
    assert (recipe.caption_dropout, recipe.tag_dropout) == (0.1, 0.2)
    assert recipe.shuffle_tags and recipe.mixed_precision == "fp16"
    assert [note.partition(":")[0] for note in found.notes] == ["caption_dropout_rate"]


def test_settings_that_are_switched_off_need_no_answer():
    off = {"use_8bit_adam": False, "cache_latents": False, "noise_offset": 0, "vae": "", "v2": None}
    off |= {"caption_dropout_rate": 0, "shuffle_caption": False}
    assert translated({**KOHYA, **off})[1] == ()


def test_kohyas_model_may_be_a_file_elsewhere():
    found = job(**KOHYA, model_name_or_path="/models/sd/v1-5.safetensors")
    assert (found.model, found.models_dir) == ("v1-5", Path("/models/sd"))


@pytest.mark.parametrize(
    "setting",
    [{"learning_rate": "fast"}, {"max_train_steps": 2.5}, {"gradient_checkpointing": "maybe"},
     {"mixed_precision": "int4"}, {"output_dir": 3}],
)  # fmt: skip
def test_kohyas_values_that_cannot_be_read_are_told_by_key(setting: dict):
    with pytest.raises(BadField, match=f"“{next(iter(setting))}”"):
        job(**{**KOHYA, **setting})


def test_templates_may_stand_in_a_file_of_their_own(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("a drawing of [name]\n")
    (tmp_path / "job.toml").write_text('name = "mug-1"\ntemplate_file = "mine.txt"\n')
    found = read_job(tmp_path / "job.toml").recipe_for("sd1")
    assert found.templates == ("a drawing of [name]",)
