"""Settings of Kohya's scripts are taken over, or answered one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webui.errors import BadField
from webui.training.jobs.config import job_of
from webui.training.jobs.kohya import translated

KOHYA = {"token_string": "mug-1", "init_word": "mug", "max_train_steps": 3000}


def job(**values: Any):
    return job_of(values, Path("/at"))


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


SUBSETS = """
[general]
shuffle_caption = true
caption_extension = ".txt"

[[datasets]]
resolution = 512
batch_size = 2

  [[datasets.subsets]]
  image_dir = "mugs/blue"
  class_tokens = "mug-1 mug"
  num_repeats = 10

  [[datasets.subsets]]
  image_dir = "mugs/red"
  class_tokens = "mug-1 cup"

  [[datasets.subsets]]
  image_dir = "others"
  is_reg = true
"""


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for place in ("mugs/blue", "mugs/red", "others"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.png").touch()
    path = tmp_path / "dataset.toml"
    path.write_text(SUBSETS)
    return path


def test_subsets_of_a_dataset_that_are_all_folders_of_one_are_that_folder(dataset: Path):
    found = job_of({**KOHYA, "dataset_config": "dataset.toml"}, dataset.parent)
    assert found.data == dataset.parent / "mugs"
    recipe = found.recipe_for("sd1")
    assert (recipe.batch_size, recipe.resolution, recipe.shuffle_tags) == (2, 512, True)
    keys = [note.partition(":")[0] for note in found.notes]
    assert keys == ["caption_extension", "class_tokens", "num_repeats"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"mugs/red"', '"others"', "Put the folders of the subsets side by side"),
        ('"mugs/red"', '"mugs/red"\nflip_aug = true', "differ in “flip_aug”"),
        ('image_dir = "mugs/red"', 'metadata_file = "a.json"', "has no “image_dir”"),
        ("[[datasets]]", "[[sets]]", "It holds no"),
        ('image_dir = "mugs/blue"', 'image_dir = "mugs/green"', "side by side"),
    ],
)
def test_what_cannot_be_one_run_is_told(dataset: Path, old: str, new: str, told: str):
    text = SUBSETS.replace(old, new)
    dataset.write_text(text.replace("datasets.", "sets.") if "sets]]" in new else text)
    with pytest.raises(BadField, match=told) as caught:
        job_of({**KOHYA, "dataset_config": str(dataset)}, dataset.parent)
    assert caught.value.field == "dataset_config"
