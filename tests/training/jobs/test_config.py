"""Training jobs read from files: our own keys, and those of Kohya's scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webui.errors import AppError, BadField
from webui.training.jobs.config import job_of, read_job, read_jobs
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


def test_templates_may_stand_in_a_file_of_their_own(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("a drawing of [name]\n")
    (tmp_path / "job.toml").write_text('name = "mug-1"\ntemplate_file = "mine.txt"\n')
    found = read_job(tmp_path / "job.toml").recipe_for("sd1")
    assert found.templates == ("a drawing of [name]",)
